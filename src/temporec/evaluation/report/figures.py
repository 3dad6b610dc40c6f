"""Sections with charts, each beside the table of its numbers."""

from collections.abc import Sequence

from temporec.evaluation.report.charts import SERIES, Bar, Line, bars, dots, lines, points, swatch
from temporec.evaluation.report.data import ModelRow, ReportData, known
from temporec.evaluation.report.tables import Cell, table
from temporec.evaluation.report.words import count, duration, interval, metric_name, name, score, text

__all__ = ["curves", "metric_bars", "segments"]

CHARTS = 4  # bar charts at most; the tables have every metric


def metric_bars(data: ReportData) -> str:
    """A bar chart for the main metric and for others at the same k that have intervals."""
    main = data.main_metric
    if main is None:
        return ""
    k = main.partition("@")[2]
    sure = dict.fromkeys(m for row in data.rows for m in row.intervals if m.partition("@")[2] == k and m in row.metrics)
    chosen = _different(data, [main, *(metric for metric in sure if metric != main)])[:CHARTS]
    cards = []
    for number, metric in enumerate(chosen):
        ranked = data.ranked(metric)
        if not ranked:
            continue
        values = [
            Bar(row.name, known(row.metrics[metric]) or 0.0, _limits(row, metric), row.is_model) for row in ranked
        ]
        spoken = "; ".join(f"{bar.label} {score(bar.value)}{_spoken(bar.limits)}" for bar in values)
        title = metric_name(metric)
        chart = bars(f"bar{number}", f"Bar chart of {title}, best first: {spoken}.", values, score)
        cards.append(f'<figure class="card"><figcaption>{text(title)}</figcaption>{chart}</figure>')
    if not cards:
        return ""
    legend = (
        '<ul class="legend"><li><span class="box"></span>model</li><li><span class="box open"></span>baseline</li>'
        "<li>├─┤ 95 % interval</li></ul>"
    )
    return f'<section><h2>Models and baselines</h2>{legend}<div class="grid">\n' + "\n".join(cards) + "</div></section>"


def _different(data: ReportData, metrics: Sequence[str]) -> list[str]:
    """Without those that say the same as one before: with one target, recall is hit rate."""
    seen: dict[tuple[str, ...], str] = {}
    for metric in metrics:
        seen.setdefault(tuple(score(row.metrics.get(metric)) for row in data.rows), metric)
    return list(seen.values())


def _limits(row: ModelRow, metric: str) -> tuple[float, float] | None:
    low, high = (known(end) for end in row.intervals.get(metric, (None, None)))
    return None if low is None or high is None else (low, high)


def _spoken(limits: tuple[float, float] | None) -> str:
    return "" if limits is None else f" ({interval(limits)})"


def curves(data: ReportData) -> str:
    """Loss and validation per epoch, a line per model, and a table of all epochs."""
    rows = [(number, row) for number, row in enumerate(_models(data)) if row.curve]
    if not rows:
        return ""
    cards = []
    for key, title in (("loss", "Training loss"), ("validation", "Validation NDCG@10")):
        series = []
        for style, row in rows:
            pairs = points([(each.get("epoch"), each.get(key)) for each in row.curve])
            if pairs:
                series.append(Line(row.name, pairs, style, _chosen(row) if key == "validation" else None))
        if series:
            spoken = "; ".join(f"{s.label} from {score(s.points[0][1])} to {score(s.points[-1][1])}" for s in series)
            chart = lines(f"curve-{key}", f"{title} per epoch: {spoken}.", series, title)
            cards.append(f'<figure class="card">{chart}</figure>')
    legend = _legend([(style, row.name) for style, row in rows])
    note = (
        '<p class="note">The large point is the epoch that validation chose. '
        "Losses of different kinds do not compare.</p>"
    )
    shown = f'{legend}<div class="grid">\n{"".join(cards)}</div>{note}' if cards else ""
    return f"<section><h2>Learning curves</h2>\n{shown}\n{_epochs([row for _, row in rows])}</section>"


def _chosen(row: ModelRow) -> float | None:
    """The epoch that validation chose: the last that was better than all before it."""
    return next((known(each.get("epoch")) for each in reversed(row.curve) if each.get("best")), None)


def _epochs(rows: Sequence[ModelRow]) -> str:
    lines_ = []
    for row in rows:
        chosen = _chosen(row)
        for each in row.curve:
            epoch = count(each.get("epoch")) + (" (chosen)" if known(each.get("epoch")) == chosen else "")
            cells = [Cell(epoch), Cell(score(each.get("loss"))), Cell(score(each.get("validation")))]
            lines_.append((name(row.name), [*cells, Cell(duration(each.get("seconds")))]))
    heads = [Cell("Model", ""), Cell("Epoch"), Cell("Loss"), Cell("Validation"), Cell("Time")]
    return f"<details><summary>Numbers of every epoch</summary>{table('Epochs', heads, lines_)}</details>"


def segments(data: ReportData) -> str:
    """For each group a chart of the main metric (models and the best baseline) and a table of all rows."""
    metric = data.main_metric
    groups = dict.fromkeys(group for row in data.rows for group in row.segments)
    if metric is None or not groups:
        return ""
    models = _models(data)[: len(SERIES) - 1]
    best = next((row for row in data.ranked(metric) if not row.is_model), None)
    shown = [*enumerate(models), *([(len(SERIES) - 1, best)] if best is not None else [])]
    cards = "\n".join(_segment(data, group, metric, shown, f"segment{n}") for n, group in enumerate(groups))
    legend = _legend([(style, row.name) for style, row in shown if row.segments])
    tables = "\n".join(_segment_table(data, group, metric) for group in groups)
    title = text(metric_name(metric))
    return (
        f'<section><h2>Where it works, and where it does not</h2><p class="note">{title} by kind of test case; '
        f"the charts have the models and the best baseline.</p>{legend}\n"
        f'<div class="grid">\n{cards}</div>\n{tables}</section>'
    )


def _segment(data: ReportData, group: str, metric: str, shown: Sequence[tuple[int, ModelRow]], key: str) -> str:
    buckets = _buckets(data, group)
    series = []
    for style, row in shown:
        values = row.segments.get(group, {})
        pairs = points([(values.get(bucket, {}).get(metric), place) for place, bucket in enumerate(buckets)])
        if pairs:
            series.append(Line(row.name, pairs, style))
    if not series:
        return ""
    spoken = "; ".join(
        f"{line.label}: " + ", ".join(f"{buckets[int(y)]} {score(x)}" for x, y in line.points) for line in series
    )
    title = metric_name(metric)
    chart = dots(key, f"{title} by {group}: {spoken}.", buckets, series, title)
    return f'<figure class="card"><figcaption>{_heading(group)}</figcaption>{chart}</figure>'


def _segment_table(data: ReportData, group: str, metric: str) -> str:
    rows = [row for row in data.rows if group in row.segments]
    lines_ = []
    for bucket in _buckets(data, group):
        found = [row.segments[group].get(bucket, {}) for row in rows]
        cases = next((each["cases"] for each in found if "cases" in each), None)
        scores = [known(each.get(metric)) for each in found]
        top = max((value for value in scores if value), default=None)  # where all are zero, none is the best
        cells = [Cell(f"<b>{score(v)}</b>" if v is not None and v == top else score(v)) for v in scores]
        lines_.append((name(bucket), [Cell(count(cases)), *cells]))
    heads = [Cell(_heading(group), ""), Cell("Cases"), *(Cell(name(row.name)) for row in rows)]
    label = str(group).replace("_", " ")
    return table(f"{metric_name(metric)} by {label} (★ highest)", heads, lines_)


def _heading(group: str) -> str:
    label = str(group).replace("_", " ")
    return text(label[:1].upper() + label[1:])


def _buckets(data: ReportData, group: str) -> list[str]:
    return list(dict.fromkeys(bucket for row in data.rows for bucket in row.segments.get(group, {})))


def _models(data: ReportData) -> list[ModelRow]:
    return [row for row in data.rows if row.is_model]


def _legend(pairs: Sequence[tuple[int, str]]) -> str:
    return '<ul class="legend">' + "".join(f"<li>{swatch(style)}{name(label)}</li>" for style, label in pairs) + "</ul>"
