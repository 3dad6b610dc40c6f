"""The page in a real browser, over a real server: what a person sees and does."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from temporec.recommend.base import Recommender
from temporec.store.reports import Reports
from temporec.store.versions import Home

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

SCREENS = Path(__file__).parents[2] / "runs" / "screens"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
expect = api.expect


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        with driver.chromium.launch(executable_path=CHROMIUM, args=options) as opened:
            yield opened


@pytest.fixture
def opened(browser: Any, server: Any) -> Iterator[Callable[..., Any]]:
    """`opened(viewport=PHONE)` is the page, with its first list; nothing it says may be an error, no host another."""
    said, asked, contexts = list[str](), list[str](), list[Any]()

    def start(url: str = server.url, **options: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
    assert asked
    assert all(url.startswith("http://127.0.0.1:") for url in asked), asked
    assert not said, said


def ready(page: Any) -> Any:
    expect(page.locator(".item").first).to_be_visible(timeout=20_000)
    return page


def items(page: Any) -> list[str]:
    return [str(each.get_attribute("data-item")) for each in page.locator(".item").all()]


def ask_for(page: Any, user: str) -> None:
    page.locator("#user").fill(user)
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-user={json.dumps(user)}]").first).to_be_visible(timeout=20_000)


def shot(page: Any, name: str) -> None:
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}.png", full_page=True)


def test_a_choice_is_an_event_and_changes_the_list(opened: Callable[..., Any], server: Any) -> None:
    page = ready(opened())
    ask_for(page, "u3")
    expect(page.locator("#events li")).to_have_count(6)
    expect(page.locator(".chance").first).to_contain_text("%")
    expect(page.locator(".why").first).not_to_be_empty()
    before = items(page)
    assert before == server.ids("u3", 10)
    page.locator(".item").first.click()
    expect(page.locator("#events li")).to_have_count(7)
    assert before[0] not in items(page)
    assert items(page) == server.ids("u3", 10) != before
    expect(page.locator("#message")).to_contain_text("Event stored")
    shot(page, "desktop")


def test_a_title_is_text(opened: Callable[..., Any]) -> None:
    page = ready(opened())
    ask_for(page, "page-hostile")
    page.locator("#history").fill("<script>")
    chip = page.locator("#found .chip")
    expect(chip).to_have_text("<script>alert(1)</script>")
    chip.click()
    expect(page.locator("#history")).to_have_value("i7")
    page.locator("#history").fill("")
    ask_for(page, "<img src=x onerror=alert(1)>")
    page.locator("#history").fill("i5, i6")
    page.locator("#why").uncheck()
    expect(page.locator(".item .title", has_text="<script>alert(1)</script>")).to_be_visible()
    page.locator(".item", has_text="<script>").click()
    expect(page.locator("#events li .title")).to_have_text("<script>alert(1)</script>")
    assert page.locator("main script, main img").count() == 0


def test_ids_and_words_describe_somebody(opened: Callable[..., Any]) -> None:
    page = ready(opened())
    ask_for(page, "page-words")
    popular = items(page)
    expect(page.locator(".answer h3")).to_contain_text("popular")
    page.locator("#words").fill("thing number 4")
    page.keyboard.press("Enter")
    expect(page.locator(".answer h3")).to_contain_text("by the model")
    assert items(page) != popular
    page.locator("#words").fill("")
    page.locator("#user").fill("")
    page.locator("#history").fill("i2, i3")
    with page.expect_response("**/v1/recommendations"):
        page.keyboard.press("Enter")
    expect(page.locator('.item[data-item="i3"]')).to_have_count(0)
    expect(page.locator("#click-help")).to_contain_text("history above")
    chosen = items(page)[0]
    page.locator(".item").first.click()
    expect(page.locator("#history")).to_have_value(f"i2, i3, {chosen}")
    expect(page.locator(f'.item[data-item="{chosen}"]')).to_have_count(0)


def test_commas_of_any_language_part_the_ids(opened: Callable[..., Any]) -> None:
    page = ready(opened(locale="zh-CN"))
    page.locator("#history").fill("i2，i3、 i4,i5")
    with page.expect_request("**/v1/recommendations") as sent:
        page.keyboard.press("Enter")
    assert sent.value.post_data_json["history"] == ["i2", "i3", "i4", "i5"]


def test_the_clock_is_dragged(opened: Callable[..., Any]) -> None:
    page = ready(opened())
    ask_for(page, "u5")
    clock = page.locator("#clock")
    clock.focus()
    with page.expect_request("**/v1/recommendations") as sent:
        page.keyboard.press("End")
    end = float(clock.get_attribute("max") or 0)
    assert end - 3_600 < sent.value.post_data_json["at"] <= end
    expect(page.locator("#timed")).to_be_checked()
    expect(page.locator("#moment")).not_to_be_empty()
    expect(page.locator("#strip .now")).to_have_count(1)
    with page.expect_request("**/v1/recommendations") as sent:
        page.locator("#timed").uncheck()
    assert "at" not in sent.value.post_data_json


def test_chinese(opened: Callable[..., Any]) -> None:
    page = ready(opened())
    page.locator("#language").click()
    expect(page.locator("#lists-title")).to_have_text("推荐结果")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    shot(page, "chinese")
    assert page.locator("#lists-title").inner_text() == "推荐结果"
    page.reload()
    expect(page.locator("#lists-title")).to_have_text("推荐结果")
    page.locator("#language").click()
    expect(page.locator("#lists-title")).to_have_text("Recommendations")
    chinese = ready(opened(locale="zh-CN"))
    expect(chinese.locator("#lists-title")).to_have_text("推荐结果")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction(opened: Callable[..., Any], scheme: str) -> None:
    page = ready(opened(viewport=PHONE, color_scheme=scheme, has_touch=True))
    expect(page.locator("#versions tbody tr")).not_to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    heights = [box["height"] for each in page.locator(".item").all() if (box := each.bounding_box())]
    assert min(heights) >= 40
    shot(page, f"phone-{scheme}")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in back[4:-1].split(",")) < 300) == (scheme == "dark")


def test_the_keyboard_reaches_everything(opened: Callable[..., Any]) -> None:
    page = ready(opened())
    ask_for(page, "page-keys")
    page.locator("body").evaluate("document.activeElement.blur()")
    reached = set[str]()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    wanted = {"skip", "language", "user", "history", "words", "timed", "clock", "why", "item", "events"}
    assert wanted <= reached, reached
    page.locator(".item").first.focus()
    page.keyboard.press("ArrowDown")
    chosen = items(page)[1]
    assert page.evaluate("document.activeElement.dataset.item") == chosen
    page.keyboard.press("Enter")
    expect(page.locator("#events li")).to_have_count(1)
    expect(page.locator(f'.item[data-item="{chosen}"]')).to_have_count(0)
    assert page.evaluate("document.activeElement.className") == "item"


def test_two_versions_and_the_charts(
    opened: Callable[..., Any], copied: Callable[[], Path], start: Callable[..., Any]
) -> None:
    server = start(copied())
    home = Home.open(server.folder)
    model: Any = Recommender.load(home.folder("v1"))
    for weights in model.model.parameters():
        weights.data.mul_(-0.7)
    assert home.add(model.save, parent="v1", log_offset=0, metrics={"ndcg@10": 0.5}) == "v2"
    reports = Reports(home)
    for n in range(5):
        reports.add({"ndcg": None if n == 2 else 0.1 * n, "rate": 3.0 if n == 4 else 1.0, "drift": n == 4})
    page = ready(opened(server.url))
    ask_for(page, "u3")
    page.locator("#second").select_option("v2")
    expect(page.locator(".answer")).to_have_count(2)
    lists = [
        [each.get_attribute("data-item") for each in answer.locator(".item").all()]
        for answer in page.locator(".answer").all()
    ]
    assert lists == [server.ids("u3", 10, version=name) for name in ("v1", "v2")]
    for name, told in [("latency", "p50"), ("events", "0"), ("ndcg", "0.4"), ("drift", "× 3")]:
        expect(page.locator(f'[data-chart="{name}"] strong')).to_contain_text(told)
        points = page.locator(f'[data-chart="{name}"] polyline').first.get_attribute("points")
        assert points
        assert "NaN" not in points
    shot(page, "two-versions")
    page.locator('[data-activate="v2"]').click()
    expect(page.locator("#message")).to_contain_text("Now answers: v2")
    expect(page.locator("#state")).to_contain_text("v2")
    assert server.http.get("/v1/status").json()["version"] == "v2"


def test_a_token_is_asked_for_and_kept_in_the_tab(
    browser: Any, copied: Callable[[], Path], start: Callable[..., Any], temporec: Callable[..., Any]
) -> None:
    folder = copied()
    made = temporec("tokens", "add", folder, "page", "--role", "read")
    secret = next(word for word in made.stdout.split() if word.startswith("temporec_"))
    page = browser.new_page(locale="en-GB")
    page.goto(start(folder).url)
    page.locator("#token").fill(secret)
    page.keyboard.press("Enter")
    ready(page)
    expect(page.locator("#entry")).to_be_hidden()
    kept = page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
    assert kept == [[secret], [], ""]
    page.locator(".item").first.click()
    expect(page.locator("#message.error")).to_contain_text("role write")
    page.locator("#history").fill("no-such-item")
    page.locator("#history").press("Enter")
    expect(page.locator("#message.error")).to_contain_text("no-such-item")
    page.locator("#history").fill("")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_be_hidden()
    page.close()
