"""Small things around answers: filters from text, tables for people, files for all users."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from temporec.durable import writing
from temporec.errors import ConfigError
from temporec.ranking.filters import Filters
from temporec.recommend.query import Recommendations

__all__ = ["filters_from", "save_frame", "table"]


def filters_from(block: str | None, category: Sequence[str] | None, seen: str | None) -> Filters:
    """Filters from command-line text: ids separated by commas, `column=value` pairs, exclude or include."""
    if seen not in (None, "exclude", "include"):
        raise ConfigError(f"--seen must be exclude or include; got {seen!r}")
    wanted: dict[str, list[str]] = {}
    for pair in category or ():
        column, sign, value = pair.partition("=")
        if not sign:
            raise ConfigError(f"--category {pair!r} is not of the form column=value")
        wanted.setdefault(column, []).append(value)
    blocked = tuple(part.strip() for part in (block or "").split(",") if part.strip())
    return Filters(exclude_seen=None if seen is None else seen == "exclude", blocked=blocked, category=wanted or None)


def table(answer: Recommendations) -> str:
    """One line per item: rank, probability, id, title; below it the reason, where it has one."""
    if not len(answer):
        return "no item is left after the filters"
    lines = ["  #  probability  item"]
    for rank, row in enumerate(answer.items, 1):
        title = "" if row.title is None or row.title == str(row.item) else f"  {row.title}"
        lines.append(f"{rank:>3}  {row.probability:>10.2%}  {row.item}{title}")
        if row.why is not None:
            lines.append(f"{'':17}{row.why}")
    if answer.source == "popularity":
        lines.append("(nothing is known of this user, so these are the popular items)")
    return "\n".join(lines)


def save_frame(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a Parquet or CSV file in one move: the old file or the new one, never a part."""
    path = Path(path)
    if path.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{path} must end in .parquet or .csv")
    if not path.parent.is_dir():
        raise ConfigError(f"the folder {path.parent} does not exist; create it first")
    part = path.with_name(path.name + ".part")
    with writing(path, part):
        frame.write_parquet(part) if path.suffix == ".parquet" else frame.write_csv(part)
        part.replace(path)
