"""One page that needs nothing else, in which all text is text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

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

EVIL = '<script>alert("x")</script><img src=https://evil.example/a.png onerror=alert(1)> & \'"'
CURVE = [{"epoch": e, "loss": 9.0 / e, "validation": 0.01 * e, "seconds": 1.5, "best": e == 3} for e in (1, 2, 3, 4)]


def row(name: str, is_model: bool, value: float) -> ModelRow:
    return ModelRow(
        name=name,
        is_model=is_model,
        metrics={"ndcg@10": value, "hit_rate@10": 2 * value, "precision@10": value / 50, "coverage@10": 0.5},
        intervals={"ndcg@10": (value - 0.001, value + 0.001), "precision@10": (value / 60, value / 40)},
        fit_seconds=12.0,
        curve=CURVE if is_model else (),
        segments={"history length": {"2-4": {"cases": 812, "ndcg@10": value}, EVIL: {"cases": 5, "ndcg@10": None}}},
    )


@pytest.fixture(scope="module")
def data() -> ReportData:
    return ReportData(
        title=EVIL,
        verdict="gru beats the best baseline, ease, by 0.012 NDCG@10 (95 % interval 0.009 to 0.015).",
        facts=DataFacts(events=198_502, users=22_363, items=12_101, span="1 Jun 2002 to 23 Jul 2014"),
        cleaning={
            "rows_in": 541_909,
            "rows_out": 397_884,
            "rules": [
                {"rule": "bots", "rows": 17, "why": EVIL, "examples": [{EVIL: EVIL}], "action": "changed"},
            ],
        },
        split=("Leave-last-out.", EVIL),
        rows=[row("gru", True, 0.0612), row(EVIL, True, 0.0431), row("ease", False, 0.0499)],
        differences=[
            PairedDifference(model="gru", baseline=EVIL, metric="ndcg@10", mean=0.012, low=0.009, high=0.015, p=0.001)
        ],
        canary={"passed": False, "sentence": EVIL, "plants": {EVIL: EVIL}},
        examples_of=EVIL,
        examples=[
            Example(
                user=EVIL,
                history=[EVIL, "口红"],
                recommended=[Recommended(title=EVIL, probability=0.25, hit=True)],
                truth=[EVIL],
            )
        ],
        run={"seed": 7, EVIL: {"torch": EVIL}},
    )


class Page(HTMLParser):
    """All tags with their attributes, and whether they are closed in order."""

    VOID = frozenset({"meta", "br", "path", "use", "rect", "circle", "link", "img", "input", "hr", "line"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_text_is_text(data: ReportData) -> None:
    html = render_html(data)
    page = Page(html)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    assert "".join(page.words).count("<script>") > 10  # it is there, for the eye


def test_loads_nothing(data: ReportData) -> None:
    """The only addresses in any attribute are namespaces and places on this page."""
    html = render_html(data)
    for tag, attrs in Page(html).tags:
        for key, value in attrs.items():
            if key in ("href", "xlink:href", "src", "srcset", "action", "data", "poster"):
                assert (value or "").startswith(("#", "data:")), (tag, key, value)
            if key == "style":
                assert "url(" not in (value or "").replace("url(#", "")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    assert not re.search(r"https?:|//|@import|url\(", style.group(1))
    assert "default-src 'none'" in html


def test_says_the_figures(data: ReportData) -> None:
    words = " ".join(Page(render_html(data)).words)
    for figure in ("0.0612", "0.0602", "0.0622", "198,502", "22,363", "12,101", "541,909", "0.0120", "25.0", "812"):
        assert figure in words, figure
    assert "gru beats the best baseline, ease, by 0.012 NDCG@10" in words
    for part in ("What was cleaned and why", "Leak canary", "Learning curves", "Failed", "口红", "hit"):
        assert part in words, part


def test_the_star_is_at_the_highest_value(data: ReportData) -> None:
    """Also where a small value is written as 9.0e-04, which as a text comes after 0.0012."""
    small = replace(data, rows=[row("gru", True, 0.0612), row("tiny", True, 0.0431)])
    html = render_html(small)
    lines = {m.group(1): m.group(2) for m in re.finditer(r'<th scope="row"><bdi>(\w+)</bdi></th>(.*?)</tr>', html)}
    assert "e-04" in html
    assert "<b>" not in lines["tiny"]


def test_same_data_same_bytes(data: ReportData) -> None:
    assert render_html(data) == render_html(data)


def test_almost_nothing_is_enough() -> None:
    html = render_html(ReportData(title="Empty", verdict="Nothing was compared."))
    assert Page(html).open == []
    assert "Nothing was compared." in html


def test_files(data: ReportData, tmp_path: Path) -> None:
    write_report(tmp_path / "new", data)
    plain = json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8"))
    assert plain == data.to_dict()
    assert plain["rows"][0]["metrics"]["ndcg@10"] == 0.0612
    assert plain["title"] == EVIL
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert page == render_html(data)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["report.html", "report.json"]
