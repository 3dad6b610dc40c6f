"""What the doctor says: figures of a log, what is wrong with it, and the options that suit it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Advice", "Diagnosis", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong or worth knowing: what it is, and how to mend it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommended option and why. `option` is dotted as in `--set`, or a flag of `fit` and `compare`."""

    option: str
    value: str | int | float | bool
    why: str

    def __str__(self) -> str:
        return f"{self.option} = {self.value}: {self.why}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Figures of a log by theme (shares are 0..1, times UTC), findings and recommended options."""

    rows: int
    users: int
    items: int
    figures: Mapping[str, Mapping[str, Any]]
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]

    @property
    def options(self) -> dict[str, str | int | float | bool]:
        """The recommended options alone, ready for `--set` or `Config.override`."""
        return {advice.option: advice.value for advice in self.advice}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        head = {"rows": self.rows, "users": self.users, "items": self.items}
        tail = {"findings": [asdict(f) for f in self.findings], "advice": [asdict(a) for a in self.advice]}
        return head | {"figures": {theme: dict(values) for theme, values in self.figures.items()}} | tail

    def table(self) -> list[tuple[str, str, str]]:
        """Cells for a table: theme, figure, value; lists are left out."""
        return [
            (theme, name.replace("_", " "), _cell(name, value))
            for theme, values in self.figures.items()
            for name, value in values.items()
            if not isinstance(value, list)
        ]

    def to_text(self) -> str:
        """Figures, then findings, then advice, one line each."""
        lines = [f"{self.rows:,} rows, {self.users:,} users, {self.items:,} items"]
        lines += [f"  {theme:<9} {name:<28} {value}" for theme, name, value in self.table()]
        for cut in self.figures.get("cuts", {}).get("candidates", []):
            after = f"{cut['test_events']:,} events of {cut['test_users']:,} users after it"
            new = f"{cut['cold_users']:.0%} of them new, {cut['cold_item_events']:.1%} of the events on new items"
            lines.append(f"  cut at {cut['share_before']:.0%} ({cut['at']}): {after}, {new}")
        lines += ["What is wrong and how to mend it:", *(f"  - {finding}" for finding in self.findings)]
        lines += [] if self.findings else ["  - nothing found"]
        return "\n".join([*lines, "Recommended options:", *(f"  - {advice}" for advice in self.advice)])


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2%}" if name.endswith(("share", "sparsity")) else f"{value:,.3g}"
    return f"{value:,}" if type(value) is int else str(value)
