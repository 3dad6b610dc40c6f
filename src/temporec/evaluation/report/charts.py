"""Charts as inline SVG: same bytes for same data, colours from the page's own light or dark palette.

Every chart is drawn for a column of a phone; the page puts several side by side where there is room. matplotlib gets
marker colours that are then replaced by CSS variables; text stays text.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from temporec.evaluation.report.data import clean_text, known
from temporec.evaluation.report.words import text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SERIES", "Bar", "Line", "bars", "dots", "lines", "points", "swatch"]

WIDTH = 4.6  # inches; at 72 points an inch about the width of a phone
INK, MUTED, GRID, PAPER, MODEL = "#010201", "#010202", "#010203", "#010204", "#010205"
SERIES = tuple(f"#0103{n:02x}" for n in range(7))
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "card", MODEL: "c0"} | {
    colour: f"c{n}" for n, colour in enumerate(SERIES)
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (4, 1.5)), (0, (1, 1)), "-")
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.image_inline": True,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval (or None); `strong` bars are models, the others baselines."""

    label: str
    value: float
    limits: tuple[float, float] | None = None
    strong: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one series; `style` numbers its colour, marker and dash; `best` is the x of the point to stress."""

    label: str
    points: Sequence[tuple[float, float]]
    style: int
    best: float | None = None


def bars(name: str, described: str, values: Sequence[Bar], number: Callable[[Any], str]) -> str:
    """Horizontal bars, first on top, with whiskers and the value printed at the right end."""

    def draw(axes: "Axes") -> None:
        for place, bar in enumerate(values):
            fill = {"color": MODEL} if bar.strong else {"facecolor": PAPER, "edgecolor": MUTED, "linewidth": 1.4}
            axes.barh(place, bar.value, height=0.62, **fill)
            low, high = bar.limits or (bar.value, bar.value)
            if bar.limits is not None:
                axes.plot([low, high], [place, place], color=INK, linewidth=1.4, marker="|", markersize=7)
            axes.annotate(
                number(bar.value), (max(high, bar.value), place), (7, 0), textcoords="offset points", va="center"
            )
        ends = [end for bar in values for end in (bar.value, *(bar.limits or ()))]
        low_end, high_end = min(0.0, *ends), max(ends)
        axes.set_xlim(1.1 * low_end, high_end + 0.24 * ((high_end - low_end) or 1.0))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.set_yticks(range(len(values)), [_short(bar.label) for bar in values])
        for tick, bar in zip(axes.get_yticklabels(), values, strict=True):
            tick.set_fontweight("bold" if bar.strong else "normal")
        axes.tick_params(axis="y", length=0)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])

    return _svg(name, described, 0.35 + 0.34 * len(values), draw)


def lines(name: str, described: str, series: Sequence[Line], label: str) -> str:
    """A curve per series over epochs."""
    from matplotlib.ticker import MaxNLocator

    def draw(axes: "Axes") -> None:
        for line in series:
            look = line.style % len(SERIES)
            xs, ys = zip(*line.points, strict=True)
            often = max(1, len(xs) // 8)
            axes.plot(
                xs, ys, color=SERIES[look], linestyle=DASHES[look], linewidth=2.2, marker=MARKERS[look],
                markersize=5, markevery=often,
            )  # fmt: skip
            for x, y in line.points:
                if x == line.best:
                    axes.plot([x], [y], color=SERIES[look], marker=MARKERS[look], markersize=11, markeredgecolor=INK)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.grid(axis="y")
        axes.set_xlabel("epoch")
        axes.set_title(label, loc="left", fontsize=12, fontweight="bold")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    return _svg(name, described, 3.0, draw)


def dots(name: str, described: str, buckets: Sequence[str], series: Sequence[Line], label: str) -> str:
    """A row per bucket, a marker per series; the x of a point is its value and its y the number of the bucket."""
    from matplotlib.ticker import MaxNLocator

    def draw(axes: "Axes") -> None:
        for place, line in enumerate(series):
            look = line.style % len(SERIES)
            shift = 0.44 * (place / max(1, len(series) - 1) - 0.5)
            xs = [x for x, _ in line.points]
            ys = [y + shift for _, y in line.points]
            axes.plot(xs, ys, color=SERIES[look], linestyle="", marker=MARKERS[look], markersize=7.5)
        for edge in range(1, len(buckets)):
            axes.axhline(edge - 0.5, color=GRID, linewidth=0.8)
        axes.set_ylim(len(buckets) - 0.5, -0.5)
        axes.set_yticks(range(len(buckets)), [_short(bucket) for bucket in buckets])
        axes.set_xlim(min(0.0, axes.get_xlim()[0]), None)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)

    return _svg(name, described, 0.75 + 0.62 * len(buckets), draw)


def swatch(style: int) -> str:
    """The marker of a series for a legend in HTML."""
    shapes: Mapping[str, str] = {
        "o": '<circle cx="8" cy="8" r="5"/>',
        "s": '<path d="M3 3h10v10h-10z"/>',
        "^": '<path d="M8 2 14 13H2z"/>',
        "D": '<path d="M8 2 14 8 8 14 2 8z"/>',
        "v": '<path d="M2 3h12L8 14z"/>',
        "P": '<path d="M6 2h4v4h4v4h-4v4h-4v-4h-4v-4h4z"/>',
        "X": '<path d="M5 2 8 5l3-3 3 3-3 3 3 3-3 3-3-3-3 3-3-3 3-3-3-3z"/>',
    }
    look = style % len(SERIES)
    shape = shapes[MARKERS[look]]
    return f'<svg class="swatch" viewBox="0 0 16 16" aria-hidden="true" style="fill:var(--c{look})">{shape}</svg>'


def points(pairs: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
    """Only the pairs of finite numbers."""
    both = [(known(x), known(y)) for x, y in pairs]
    return [(x, y) for x, y in both if x is not None and y is not None]


def _short(label: str) -> str:
    line = " ".join(clean_text(label).split())
    return line if len(line) <= 18 else line[:17] + "…"


def _svg(name: str, described: str, height: float, draw: Callable[["Axes"], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that this machine's font lacks; the reader's browser has its own
        matplotlib.rcdefaults()
        settings: Any = {**STYLE, "svg.hashsalt": f"temporec {name}"}
        matplotlib.rcParams.update(settings)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        return _inline(figure, name, described)


def _inline(figure: "Figure", name: str, described: str) -> str:
    """The SVG without prolog and metadata, its ids of its own, colours as variables, and a text for who cannot see."""
    file = io.StringIO()
    figure.savefig(
        file, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', drawn)
    inner = drawn[drawn.index(">") + 1 :]
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.S)
    inner = re.sub(r"<style.*?</style>", "", inner, flags=re.S)  # it would hold for the whole page
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.S)
    inner = re.sub(r'\bid="', f'id="{name}-', inner)
    inner = inner.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    inner = re.sub(r"#010[23]\d\d", lambda found: f"var(--{VARIABLES[found[0]]})", inner)
    inner = re.sub(r"font-family: [^;\"]*; ?|(?<=px) [^;\"]*(?=;)", "", inner)  # the page has its own
    inner = re.sub(r"\n\s*", "\n", inner)
    title = f'<title id="{name}-title">{text(described, 2000)}</title>'
    view = box[0] if box else ""
    return f'<svg class="chart" {view} role="img" aria-labelledby="{name}-title">{title}{inner.strip()}'
