"""The report of a comparison: report.json, and one self-contained report.html."""

from temporec.evaluation.report.data import (
    DataFacts,
    Example,
    ModelRow,
    PairedDifference,
    Recommended,
    ReportData,
)
from temporec.evaluation.report.html import render_html, write_report

__all__ = [
    "DataFacts",
    "Example",
    "ModelRow",
    "PairedDifference",
    "Recommended",
    "ReportData",
    "render_html",
    "write_report",
]
