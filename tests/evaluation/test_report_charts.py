"""Charts: same bytes, colours of the page, text that is text, nothing left behind in matplotlib."""

import re

import matplotlib as mpl
import pytest

from temporec.evaluation.report.charts import SERIES, Bar, Line, bars, dots, lines, points, swatch
from temporec.evaluation.report.words import bytes_of, count, duration, interval, metric_name, score, share, signed

BARS = [Bar("gru", 0.06, (0.05, 0.07)), Bar("中文 $x_1$ <b>", 0.03, None, False), Bar("a" * 50, 0.01)]
LINES = [Line(f"m{n}", [(1, 9.0 - n), (2, 8.0 - n), (3, 7.5)], n, best=2) for n in range(9)]


def drawn() -> list[str]:
    buckets = ["1-4", "5-9", "10+"]
    placed = [Line("gru", [(0.04, 0), (0.05, 1), (0.06, 2)], 0), Line("ease", [(0.03, 0)], 6)]
    return [
        bars("b", "Bars <&>", BARS, score),
        lines("l", "Lines", LINES, "Loss"),
        dots("d", "Dots", buckets, placed, "NDCG@10"),
    ]


def test_same_bytes_whatever_the_user_set() -> None:
    first = drawn()
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert drawn() == first
        assert mpl.rcParams["font.size"] == 30


def test_colours_are_those_of_the_page() -> None:
    for chart in drawn():
        assert "var(--ink)" in chart
        assert not re.search(r"(fill|stroke): *(#|white|black|rgb)", chart)
        assert "<style" not in chart
        assert "font-family" not in chart
        assert chart.count("<svg") == chart.count("</svg>") == 1


def test_text_is_text_and_escaped() -> None:
    chart = drawn()[0]
    assert "中文 $x_1$ &lt;b&gt;" in chart
    assert "a" * 17 + "…" in chart
    assert "0.0600" in chart
    assert "Bars &lt;&amp;&gt;" in chart


def test_every_series_differs_by_more_than_colour() -> None:
    shapes = {re.sub(r"--c\d", "", swatch(style)) for style in range(len(SERIES))}
    assert len(shapes) == len(SERIES)


def test_points_leave_gaps_out() -> None:
    assert points([(1, 2), (2, None), (3, float("nan")), ("4", 1), (5, 0.5)]) == [(1.0, 2.0), (5.0, 0.5)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (score(0.06125), "0.0612"),
        (score(0), "0.0000"),
        (score(0.000523), "0.00052"),
        (score(-0.0213), "−0.0213"),
        (score(12.3456), "12.3"),
        (score(None), "–"),
        (signed(0.01), "+0.0100"),
        (signed(-0.01), "−0.0100"),
        (interval((0.05, 0.0712)), "0.0500 to 0.0712"),
        (interval((float("nan"), 1.0)), ""),
        (interval(None), ""),
        (share(0.4271), "42.7\u202f%"),
        (share(0.00031), "0.031\u202f%"),
        (share(1), "100\u202f%"),
        (share(0), "0.0\u202f%"),
        (duration(0.123), "0.12 s"),
        (duration(59.7), "60 s"),
        (duration(167), "2 min 47 s"),
        (duration(3725), "1 h 02 min"),
        (bytes_of(1234.5), "1,234 MB"),
        (bytes_of(12_345), "12.3 GB"),
        (count(1234567), "1,234,567"),
        (metric_name("ndcg@10"), "NDCG@10"),
        (metric_name("hit_rate@5"), "Hit rate@5"),
        (metric_name("intra_list_diversity"), "Intra list diversity"),
    ],
)
def test_numbers_as_a_reader_wants_them(shown: str, expected: str) -> None:
    assert shown == expected
