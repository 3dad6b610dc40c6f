"""Tables with captions that scroll on a phone instead of breaking the page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporec.evaluation.report.words import text

__all__ = ["Cell", "facts_table", "table"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of ready HTML; `kind` is its class: "n" for numbers, "text" for prose."""

    html: str
    kind: str = "n"


def table(
    caption: str,
    heads: Sequence[Cell],
    rows: Iterable[tuple[str, Sequence[Cell]]],
    strong: Sequence[bool] = (),
    stack: bool = False,
) -> str:
    """A table: the first cell of `heads` stands above the rows' names; `strong` marks the rows of models.

    With `stack` a row becomes a block of lines on a phone.
    """
    head = "".join(f'<th scope="col"{_kind(cell)}>{cell.html}</th>' for cell in heads)
    marks = list(strong)
    lines = []
    for place, (row, cells) in enumerate(rows):
        mark = ' class="model"' if place < len(marks) and marks[place] else ""
        body = "".join(f"<td{_kind(cell)}>{cell.html}</td>" for cell in cells)
        lines.append(f'<tr{mark}><th scope="row">{row}</th>{body}</tr>')
    top = f"<caption><span>{text(caption)}</span></caption>\n<thead><tr>{head}</tr></thead>"
    look = "wide stack" if stack else "wide"
    frame = f'<div class="{look}" role="region" tabindex="0" aria-label="{text(caption)}">'
    return "\n".join([f"{frame}\n<table>{top}\n<tbody>", *lines, "</tbody></table></div>"])


def facts_table(caption: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Two columns, ready HTML in both."""
    lines = "\n".join(f'<tr><th scope="row">{key}</th><td>{value}</td></tr>' for key, value in pairs)
    head = f"<caption><span>{text(caption)}</span></caption>"
    return f'<div class="wide facts"><table>{head}\n<tbody>\n{lines}\n</tbody></table></div>'


def _kind(cell: Cell) -> str:
    return f' class="{cell.kind}"' if cell.kind else ""
