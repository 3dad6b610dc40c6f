"""The report says everything it was given, nothing in it is markup but our own, and it loads nothing."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temporec.data.clean_config import CleanReport, RuleResult
from temporec.evaluation.report import (
    DataFacts,
    Example,
    ModelRow,
    PairedDifference,
    Recommended,
    ReportData,
    render_html,
    write_report,
)

EVIL = "<script>alert('x')</script> & \"quotes\" $5 $title"
EMPTY = ReportData(title="Nothing yet", verdict="No model ran.")
VOID = {"meta", "br"}


def row(name: str, is_model: bool, ndcg: float) -> ModelRow:
    curve = [
        {"epoch": n, "loss": 9.0 / n, "validation": ndcg * n / 3, "seconds": 1.5, "best": n == 2} for n in range(1, 4)
    ]
    return ModelRow(
        name=name,
        is_model=is_model,
        metrics={"ndcg@10": ndcg, "hit_rate@10": ndcg * 2, "ndcg@5": ndcg * 0.7, "coverage@10": 0.4321},
        intervals={"ndcg@10": (ndcg - 0.002, ndcg + 0.003), "hit_rate@10": (ndcg * 1.9, ndcg * 2.1)},
        fit_seconds=143.2 if is_model else 3.21,
        peak_rss_mb=1234.5,
        epochs=7 if is_model else None,
        parameters=876543 if is_model else None,
        curve=curve if is_model else (),
        segments={
            "history_length": {"1-4": {"cases": 812, "ndcg@10": ndcg * 0.5}, "5+": {"cases": 93, "ndcg@10": ndcg}}
        },
    )


def full() -> ReportData:
    rules = (
        RuleResult("missing_user", 135080, 0.2493, "An event without a user has no history.", ({"item": EVIL},)),
        RuleResult("duplicates", 17, 0.00031, "Equal to an earlier row.", ()),
    )
    return ReportData(
        title=f"Shop {EVIL}",
        verdict=f"gru beats markov {EVIL}",
        facts=DataFacts(events=198502, users=22363, items=12101, span="1 Jun 2002 to 23 Jul 2014", repeat_rate=0.0712),
        cleaning=CleanReport(541909, 406812, rules).to_dict(),
        split=("Events before 8 Nov 2011 train.", f"All items are ranked {EVIL}."),
        rows=[row("gru", True, 0.0613), row(EVIL, True, 0.0551), row("markov", False, 0.0312)],
        differences=[
            PairedDifference(
                model="gru", baseline="markov", metric="ndcg@10", mean=0.0301, low=0.0277, high=0.0322, p=0.001, n=905
            )
        ],
        canary={"passed": True, "sentence": "No score moved.", "histories": 211},
        examples_of="gru",
        examples=[
            Example(
                user=EVIL,
                history=[EVIL, "美宝莲 睫毛膏"],
                recommended=[Recommended(title=EVIL, probability=0.1234, hit=True), Recommended(title="Soap")],
                truth=[EVIL],
            )
        ],
        run={"seed": 41, "precision": "bf16", "versions": {"torch": "2.13.0"}, "data_hash": "ab" * 32, "note": EVIL},
    )


class Outline(HTMLParser):
    """Tags, attributes and text of a page; complains about tags that do not close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += f"{data} "


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(full())


def test_titles_are_text(page: str) -> None:
    outline = Outline(page)
    assert "script" not in {tag for tag, _ in outline.tags}
    assert not [name for _, attributes in outline.tags for name in attributes if name.startswith("on")]
    # title, heading, verdict, rule example, split, names in charts and tables, example (4), run
    assert outline.text.count(EVIL) >= 15


def test_names_and_keys_are_text_too() -> None:
    """Wherever a caller may put a name: buckets, metrics, rules, columns, baselines, plants, facts of the run."""
    image = f"<img src=https://evil.example/a.png onerror=alert(1)> {EVIL}"
    evil = ModelRow(
        name=image,
        is_model=True,
        metrics={image: 0.5},
        intervals={image: (0.4, 0.6)},
        curve=[{"epoch": 1, "loss": 2.0, "validation": 0.1, "seconds": 1.0}],
        segments={image: {image: {"cases": 5, image: 0.5}}},
    )
    gap = PairedDifference(model=image, baseline=image, metric=image, mean=0.1, low=0.0, high=0.2)
    page = render_html(
        ReportData(
            title=image,
            verdict=image,
            metric=image,
            facts=DataFacts(events=1, users=1, items=1, span=image),
            cleaning={"rules": [{"rule": image, "why": image, "action": image, "examples": [{image: image}]}]},
            split=(image,),
            rows=[evil, replace(evil, is_model=False)],
            differences=[gap],
            canary={"passed": False, "sentence": image, "plants": {image: image}},
            examples_of=image,
            run={image: {image: [image]}},
        )
    )
    for tag, attributes in Outline(page).tags:
        assert tag not in {"script", "img"}
        assert not attributes.keys() & {"src", "onerror"}


def test_nothing_is_loaded(page: str) -> None:
    for tag, attributes in Outline(page).tags:
        assert tag not in {"link", "img", "iframe", "object", "base", "form"}
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"https?:|@import|//[a-z]", page)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "figure",
    [
        *("0.0613", "0.0551", "0.0312", "0.1226", "0.0429", "0.4321"),  # metrics
        *("0.0593 to 0.0643", "0.1165 to 0.1287"),  # intervals
        *("2 min 23 s", "3.2 s", "1,234 MB", "876,543"),  # costs
        *("+0.0301", "+0.0277 to +0.0322", "0.0010", "905"),  # difference
        *("9.0000", "4.5000", "0.0204", "0.0409", "1.5 s"),  # curves
        *("812", "93", "0.0156"),  # segments
        *("198,502", "22,363", "12,101", "1 Jun 2002 to 23 Jul 2014", "7.12\u202f%"),  # data
        *("541,909", "406,812", "135,097", "135,080", "24.9\u202f%", "17", "0.031\u202f%"),  # cleaning
        *("12.3\u202f%", "211", "41", "bf16", "2.13.0", "ab" * 32),
    ],
)
def test_every_number_is_there(page: str, figure: str) -> None:
    assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d)", Outline(page).text)


def test_order_and_structure(page: str) -> None:
    outline = Outline(page)
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert [head.split(" by ")[0] for head in heads] == [
        "Models and baselines", "All metrics", "Against the best baseline", "What it cost", "Learning curves",
        "Where it works, and where it does not", "Examples", "What was cleaned and why", "How it was split and ranked",
        "Leak canary", "The run",
    ]  # fmt: skip
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("h1") == 1
    assert tags.count("table") == tags.count("caption")
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [attributes for tag, attributes in outline.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 5  # two metrics with intervals, loss, validation, one segment
    assert all(attributes["aria-labelledby"] in ids for attributes in charts)


def test_hit_is_more_than_a_colour(page: str) -> None:
    assert page.count("✓ hit</em>") == 1
    assert "Passed" in page


def test_the_best_is_marked_by_value_not_by_its_digits() -> None:
    rows = [
        ModelRow(name=name, is_model=True, metrics={"ndcg@10": value}, intervals={"ndcg@10": (value, value)})
        for name, value in (("tiny", 0.00052), ("large", 0.0041))
    ]
    assert re.findall(r"<b>(.*?)</b>", render_html(replace(EMPTY, rows=rows))) == ["0.0041"]


def test_missing_parts_are_left_out() -> None:
    page = render_html(EMPTY)
    assert "<h2>" not in page
    assert "No model ran." in Outline(page).text


@pytest.mark.parametrize(
    "part",
    ["facts", "cleaning", "split", "rows", "differences", "canary", "examples_of", "examples", "run"],
)
def test_any_part_may_be_missing_or_alone(part: str) -> None:
    data = full()
    alone, missing = replace(EMPTY, **{part: getattr(data, part)}), replace(data, **{part: getattr(EMPTY, part)})
    for each in (alone, missing):
        page = render_html(each)
        Outline(page)
        assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize("value", [math.nan, math.inf, None, 0.0, -0.2, np.float32(0.5)])
def test_odd_numbers(value: Any) -> None:
    odd = ModelRow(
        name="odd",
        is_model=True,
        metrics={"ndcg@10": value},
        intervals={"ndcg@10": (value, value)},
        curve=[{"epoch": 1, "loss": value, "validation": None, "seconds": value}],
        segments={"group": {"all": {"cases": 0, "ndcg@10": value}}},
    )
    data = replace(EMPTY, rows=[odd])
    Outline(render_html(data))
    assert json.loads(json.dumps(data.to_dict(), allow_nan=False))["rows"][0]["name"] == "odd"


def test_failed_canary_says_so() -> None:
    page = render_html(replace(EMPTY, canary={"passed": False, "sentence": "Scores moved."}))
    assert "✗ Failed." in page
    assert "Scores moved." in page


def test_no_time_column_is_said() -> None:
    page = render_html(replace(EMPTY, facts=DataFacts(events=5, users=2, items=3, has_time=False)))
    assert "row order stands for time" in page


def test_files_and_same_bytes(tmp_path: Path) -> None:
    strange = Example(user="u", history=["\ud800 lone", "nul \x00", "long " * 10_000], recommended=())
    data = replace(full(), examples=[strange])
    for name in ("a", "deep/b"):
        write_report(tmp_path / name, data)
    for name in ("report.html", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "deep/b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["report.html", "report.json"]
    assert (tmp_path / "a" / "report.html").stat().st_size < 300_000
    read = json.loads((tmp_path / "a" / "report.json").read_text(encoding="utf-8"))
    assert read == data.to_dict()
    assert read["rows"][0]["metrics"]["ndcg@10"] == 0.0613
    assert read["rows"][0]["intervals"]["ndcg@10"] == [0.0613 - 0.002, 0.0613 + 0.003]
    assert read["title"] == data.title
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8") == render_html(data)


def test_same_bytes_in_another_process(tmp_path: Path, page: str) -> None:
    path = tmp_path / "data.py"
    path.write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    code = (
        f"import sys; sys.path[:0] = {[str(tmp_path), *sys.path]!r}; import data; "
        "sys.stdout.buffer.write(data.render_html(data.full()).encode())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120)
    assert done.stdout.decode() == page


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(tmp_path, EMPTY)
    assert not list(tmp_path.glob("*.part"))


def test_import_leaves_matplotlib_alone() -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import temporec.evaluation.report; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_the_chosen_epoch_is_the_last_that_was_better() -> None:
    """A curve marks every epoch that was the best so far; validation chose the last of them."""
    curve = [{"epoch": n, "loss": 1.0, "validation": v, "best": n in (1, 2, 4)} for n, v in enumerate("1224", 1)]
    data = replace(full(), rows=[replace(full().rows[0], curve=curve)])
    words = Outline(render_html(data)).text
    assert re.findall(r"(\d+) \(chosen\)", words) == ["4"]


def test_nobody_is_best_where_all_are_zero() -> None:
    zero = {"popularity": {"cold": {"cases": 3, "ndcg@10": 0.0}, "head": {"cases": 3, "ndcg@10": 0.5}}}
    data = replace(full(), rows=[replace(row, segments=zero) for row in full().rows])
    page = render_html(data)
    assert "<b>0.5000</b>" in page
    assert "<b>0.0000</b>" not in page


def test_long_lists_are_cut_with_a_number_and_times_are_readable() -> None:
    example = Example(
        user="u", history=[f"old {n}" for n in range(20)], recommended=[], truth=[f"new {n}" for n in range(15)]
    )
    rule = RuleResult("repeats", 1, 0.1, "Twice.", ({"item": 1291203900000, "time": 1291203900000},))
    data = replace(full(), examples=[example], cleaning=CleanReport(10, 9, (rule,)).to_dict())
    words = Outline(render_html(data)).text
    assert "old 7" not in words
    assert "old 8" in words
    assert "the last 12 of 20" in words
    assert "new 11" in words
    assert "and 3 more" in words
    assert "2010-12-01 11:45:00" in words
    assert "1291203900000" in words
