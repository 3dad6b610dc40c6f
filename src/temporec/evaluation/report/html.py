"""Writes the report: report.json for machines, report.html for people."""

import json
from pathlib import Path
from string import Template

from temporec.evaluation.report.data import ReportData
from temporec.evaluation.report.sections import sections
from temporec.evaluation.report.words import text

__all__ = ["render_html", "write_report"]


def render_html(data: ReportData) -> str:
    """The whole page: style, charts and text in one file that loads nothing."""
    here = Path(__file__)
    template = Template(here.with_name("template.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=text(data.title),
        verdict=text(data.verdict, 2000),
        style=here.with_name("style.css").read_text(encoding="utf-8").strip(),
        body="\n".join(part for part in sections(data) if part),
    )


def write_report(folder: Path | str, data: ReportData) -> None:
    """Write report.json and report.html into the folder (made where it is missing): both of them, or neither."""
    folder = Path(folder)
    page = render_html(data)
    plain = json.dumps(data.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / "report.json": plain + "\n", folder / "report.html": page}
    try:
        for path, content in files.items():
            path.with_name(f"{path.name}.part").write_text(content, encoding="utf-8")
        for path in files:
            path.with_name(f"{path.name}.part").replace(path)
    except OSError:
        for path in files:
            path.with_name(f"{path.name}.part").unlink(missing_ok=True)
        if new:
            folder.rmdir()
        raise
