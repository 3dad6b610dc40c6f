"""The page from top to bottom; a section without data is an empty text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from temporec.evaluation.report.data import Example, ReportData
from temporec.evaluation.report.figures import curves, metric_bars, segments
from temporec.evaluation.report.tables import Cell, facts_table, table
from temporec.evaluation.report.words import (
    NAMES,
    bytes_of,
    count,
    duration,
    flat,
    interval,
    metric_name,
    moment,
    name,
    score,
    share,
    signed,
    text,
)

__all__ = ["sections"]

LISTED = 12  # items of a history or a basket; the rest is a number


def sections(data: ReportData) -> Iterator[str]:
    """All sections in order."""
    yield keys(data)
    yield metric_bars(data)
    yield metric_tables(data)
    yield differences(data)
    yield costs(data)
    yield curves(data)
    yield segments(data)
    yield examples(data)
    yield cleaning(data)
    yield rules(data)
    yield canary(data)
    yield run(data)


def keys(data: ReportData) -> str:
    """Key numbers: best model, best baseline, their difference, size of the data."""
    tiles: list[tuple[str, str, str]] = []
    metric = data.main_metric
    if metric is not None:
        ranked = data.ranked(metric)
        for what, is_model in (("Best model", True), ("Best baseline", False)):
            best = next((row for row in ranked if row.is_model is is_model), None)
            if best is not None:
                limits = interval(best.intervals.get(metric))
                note = f"{name(best.name)}{', 95 %: ' + limits if limits else ''}"
                tiles.append((f"{what}, {text(metric_name(metric))}", score(best.metrics[metric]), note))
        tiles += _best_tiles(data, metric)
    if data.facts is not None:
        facts = data.facts
        tiles.append(("Events", count(facts.events), text(facts.span or "")))
        tiles.append(("Users", count(facts.users), ""))
        tiles.append(("Items", count(facts.items), ""))
        if facts.repeat_rate is not None:
            tiles.append(("Repeat rate", share(facts.repeat_rate), "events on an item the user had before"))
        if not facts.has_time:
            tiles.append(("Time", "none", "row order stands for time; gaps are off"))
    if not tiles:
        return ""
    inner = "\n".join(
        f'<div><dt>{label}</dt><dd class="big">{value}</dd>{f"<dd>{note}</dd>" if note else ""}</div>'
        for label, value, note in tiles
    )
    return f'<section aria-label="Key numbers"><dl class="keys">\n{inner}\n</dl></section>'


def _best_tiles(data: ReportData, metric: str) -> list[tuple[str, str, str]]:
    """Difference and fit time of the best model."""
    best = next((row for row in data.ranked(metric) if row.is_model), None)
    if best is None:
        return []
    tiles = []
    gap = next((each for each in data.differences if each.metric == metric and each.model == best.name), None)
    if gap is not None:
        note = f"{name(gap.model)} − {name(gap.baseline)}, 95 %: {interval((gap.low, gap.high))}"
        tiles.append(("Difference", signed(gap.mean), note))
    if best.fit_seconds is not None:
        tiles.append(("Fit time", duration(best.fit_seconds), name(best.name)))
    return tiles


def metric_tables(data: ReportData) -> str:
    """Every metric of every row: a table for each k, that of the main metric first."""
    main = data.main_metric
    if main is None:
        return ""
    k = main.partition("@")[2]
    sure = {metric for row in data.rows for metric in row.intervals}
    groups: dict[tuple[str, bool], dict[str, None]] = {(k, True): {main: None}, (k, False): {}}
    for row in data.rows:
        for metric in row.metrics:
            base, _, at = metric.partition("@")
            first = metric == main or not sure or (metric in sure and base in NAMES)
            groups.setdefault((at, first), {})[metric] = None
    tables = []
    for (k, first), metrics in groups.items():
        caption = ("Metrics" if first else "More metrics") + (f" at {k}" if k else "")
        if metrics:
            tables.append(_metric_table(data, caption, list(metrics)))
    note = "Small figures are 95 % intervals. ★ marks the highest value among rows with an interval. Models are bold."
    return f'<section><h2>All metrics</h2><p class="note">{note}</p>\n' + "\n".join(tables) + "</section>"


def _metric_table(data: ReportData, caption: str, metrics: list[str]) -> str:
    best = {m: next((score(r.metrics[m]) for r in data.ranked(m) if m in r.intervals), "") for m in metrics}
    ordered = data.ranked(data.main_metric or "")
    ordered += [row for row in data.rows if row not in ordered]
    ordered = [row for row in ordered if any(metric in row.metrics for metric in metrics)]
    rows = []
    for row in ordered:
        cells = []
        for metric in metrics:
            value = score(row.metrics.get(metric))
            limits = interval(row.intervals.get(metric))
            shown = f"<b>{value}</b>" if limits and value == best[metric] else value
            cells.append(Cell(shown + (f"<small>{limits}</small>" if limits else "")))
        rows.append((name(row.name), cells))
    heads = [Cell("Model or baseline", ""), *(Cell(text(metric_name(metric))) for metric in metrics)]
    return table(caption, heads, rows, [row.is_model for row in ordered])


def differences(data: ReportData) -> str:
    """Paired differences in words: clear where the interval leaves zero out."""
    if not data.differences:
        return ""
    rows = []
    for each in data.differences:
        clear = "no clear difference" if each.low <= 0 <= each.high else ("better" if each.low > 0 else "worse")
        cells = [
            Cell(name(each.baseline), ""),
            Cell(text(metric_name(each.metric)), ""),
            Cell(signed(each.mean)),
            Cell(f"{signed(each.low)} to {signed(each.high)}"),
            Cell(score(each.p)),
            Cell(count(each.n)),
            Cell(clear, ""),
        ]
        rows.append((name(each.model), cells))
    heads = [Cell("Model", ""), Cell("Against", ""), Cell("Metric", ""), Cell("Difference"), Cell("95 % interval")]
    heads += [Cell("p"), Cell("Cases"), Cell("Reading", "")]
    return (
        "<section><h2>Against the best baseline</h2>\n"
        + table("Paired differences on the same test cases", heads, rows, [True] * len(rows))
        + "</section>"
    )


def costs(data: ReportData) -> str:
    """Time, memory and size of what was fitted."""
    rows = [
        row for row in data.rows
        if any(v is not None for v in (row.fit_seconds, row.peak_rss_mb, row.epochs, row.parameters))
    ]  # fmt: skip
    if not rows:
        return ""
    lines = [
        (
            name(row.name),
            [
                Cell(duration(row.fit_seconds)),
                Cell(bytes_of(row.peak_rss_mb)),
                Cell(count(row.epochs)),
                Cell(count(row.parameters)),
            ],
        )
        for row in rows
    ]
    heads = [Cell("Model or baseline", ""), Cell("Fit time"), Cell("Peak memory"), Cell("Epochs"), Cell("Parameters")]
    inner = table("Time, memory and size", heads, lines, [row.is_model for row in rows])
    return f"<section><h2>What it cost</h2>\n{inner}</section>"


def examples(data: ReportData) -> str:
    """Cards: history, what was recommended, what came next; a hit has a mark and a word, not just a colour."""
    if not data.examples:
        return ""
    by = f" by {name(data.examples_of)}" if data.examples_of else ""
    cards = "\n".join(_card(example) for example in data.examples)
    note = "Histories run from old to new. ✓ hit marks what the user truly took next."
    return f'<section><h2>Examples{by}</h2><p class="note">{note}</p><div class="grid">\n{cards}\n</div></section>'


def _card(example: Example) -> str:
    ranks = []
    for each in example.recommended:
        row, hit = ('<li class="hit">', " <em>✓ hit</em>") if each.hit else ("<li>", "")
        chance = "" if each.probability is None else f'<span class="p">{share(each.probability)}</span>'
        ranks.append(f"{row}<span>{name(each.title)}{hit}</span>{chance}</li>")
    parts = [f'<article class="card example"><h3>User {name(example.user)}</h3>']
    if example.history:
        first = max(0, len(example.history) - LISTED)
        earlier = f' <span class="p">(the last {LISTED} of {len(example.history)})</span>' if first else ""
        parts.append(f'<h4>History{earlier}</h4><ol start="{first + 1}">{_items(example.history[first:])}</ol>')
    parts.append(f'<h4>Recommended next</h4><ol class="ranks">{"".join(ranks)}</ol>')
    if example.truth:
        more = len(example.truth) - LISTED
        rest = f'<p class="note">and {more} more</p>' if more > 0 else ""
        parts.append(f"<h4>Came next</h4><ul>{_items(example.truth[:LISTED])}</ul>{rest}")
    return "\n".join([*parts, "</article>"])


def _items(titles: Sequence[str]) -> str:
    return "".join(f"<li>{name(title)}</li>" for title in titles)


def cleaning(data: ReportData) -> str:
    """What was cleaned and why, with the first example of each rule."""
    report = data.cleaning
    if not report:
        return ""
    rows_in, rows_out = report.get("rows_in"), report.get("rows_out")
    said = ""
    if isinstance(rows_in, int) and isinstance(rows_out, int):
        said = f"<p>{count(rows_in)} rows in, {count(rows_out)} rows out; {count(rows_in - rows_out)} were dropped.</p>"
    rows = []
    for rule in report.get("rules", ()):
        cells = [
            Cell(text(rule.get("action", "")), ""),
            Cell(count(rule.get("rows")), "n rows"),
            Cell(share(rule.get("share"))),
            Cell(text(rule.get("why", "")) + _first_example(rule), "text"),
        ]
        rows.append((name(str(rule.get("rule", "")).replace("_", " ")), cells))
    heads = [Cell("Rule", ""), Cell("Action", ""), Cell("Rows"), Cell("Share"), Cell("Why", "text")]
    shown = (
        table("Cleaning rules that found something", heads, rows, stack=True)
        if rows
        else "<p>No rule found anything.</p>"
    )
    return f"<section><h2>What was cleaned and why</h2>\n{said}\n{shown}</section>"


def _first_example(rule: Mapping[str, Any]) -> str:
    found = rule.get("examples") or ()
    if not found:
        return ""
    first = found[0]
    pairs = first.items() if isinstance(first, Mapping) else [("row", first)]
    return (
        '<br><span class="note">for example '
        + ", ".join(f"{text(k)} = {'empty' if v is None else name(moment(v) if k == 'time' else v)}" for k, v in pairs)
        + "</span>"
    )


def rules(data: ReportData) -> str:
    """Split and ranking in words."""
    if not data.split:
        return ""
    lines = "".join(f"<li>{text(line, 1000)}</li>" for line in data.split)
    return f"<section><h2>How it was split and ranked</h2><ul>{lines}</ul></section>"


def canary(data: ReportData) -> str:
    """The leak canary: passed or not, and its sentence."""
    result = data.canary
    if result is None:
        return ""
    passed = bool(result.get("passed"))
    state = '<span class="state yes">✓ Passed.</span>' if passed else '<span class="state no">✗ Failed.</span>'
    rest = {key: value for key, value in result.items() if key not in ("passed", "sentence")}
    pairs = [(text(key), text(value, 1000)) for key, value in flat(rest)]
    shown = facts_table("Details of the canary", pairs) if pairs else ""
    sentence = text(result.get("sentence", ""), 2000)
    return f"<section><h2>Leak canary</h2><p>{state} {sentence}</p>\n{shown}</section>"


def run(data: ReportData) -> str:
    """Facts that repeat the run."""
    pairs = [(text(key), text(value, 1000)) for key, value in flat(data.run)]
    return f"<section><h2>The run</h2>\n{facts_table('Facts of the run', pairs)}</section>" if pairs else ""
