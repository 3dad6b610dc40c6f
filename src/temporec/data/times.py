"""Times of any kind to UTC milliseconds: numbers by their magnitude, ISO and common text, dates, time zones."""

from dataclasses import dataclass

import polars as pl

from temporec.data.clean_config import CleanConfig
from temporec.errors import ColumnError, ConfigError

__all__ = ["ParsedTimes", "parse_times"]

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_ELSE = "choose another column with --time-col, or leave it out with --time-col ''"
_FLOOR = 1e8  # a second count below it lies before March 1973; 1e11, 1e14, 1e17 part ms, us and ns in the same way
_ZONED = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f %#z",
    "%Y-%m-%dT%H:%M%#z",
    "%a, %d %b %Y %H:%M:%S %z",
)
_NAIVE = (
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S%.f", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d%H%M%S", "%Y%m%d",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%a %b %d %H:%M:%S %Y", "%d %b %Y", "%b %d, %Y",
)  # fmt: skip
_MONTH_FIRST = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y")
_DAY_FIRST = tuple(form.replace("%m/%d", "%d/%m") for form in _MONTH_FIRST)


@dataclass(frozen=True, slots=True)
class ParsedTimes:
    """Times [N] in milliseconds UTC; null where nothing could be read. `notes` say what was assumed or mended."""

    time: pl.Series
    notes: tuple[str, ...] = ()
    mended: int = 0


def parse_times(column: pl.Series, config: CleanConfig | None = None) -> ParsedTimes:
    """Read a time column of any type.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by their size; fractions of a millisecond are
    rounded down. Text may mix forms and zones. What cannot be read becomes null; the caller drops and reports it.

    Raises:
        ColumnError: not one time can be read, the numbers are no Unix times, their units are mixed (and `mixed_units`
            is "error"), or the type cannot be a time.
        ConfigError: the time zone is not known.
    """
    config = config or CleanConfig()
    parsed = _parsed(column, config)
    if column.null_count() < len(column) == parsed.time.null_count():
        form = "" if config.time_format is None else f" as {config.time_format!r}"
        raise ColumnError(
            f"column {column.name!r} holds {str(column.drop_nulls()[0])[:40]!r}; none of its times can be read{form}; "
            f"give their form with --set clean.time_format='%d.%m.%y %H:%M' (for example), {_ELSE}"
        )
    return parsed


def _parsed(column: pl.Series, config: CleanConfig) -> ParsedTimes:
    dtype = column.dtype
    if dtype == pl.Date:
        return ParsedTimes(column.cast(pl.Datetime("ms")).cast(pl.Int64))
    if isinstance(dtype, pl.Datetime):
        zoned = column if dtype.time_zone else _localise(column, config.time_zone)
        return ParsedTimes(zoned.dt.timestamp("ms"))
    if dtype.is_integer() or dtype.is_float() or dtype.is_decimal():
        return _numbers(column.cast(pl.Float64) if dtype.is_decimal() else column, config)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _text(column.cast(pl.String), config)
    if dtype == pl.Null:
        return ParsedTimes(column.cast(pl.Int64))
    raise ColumnError(
        f"times in column {column.name!r} are of type {dtype}; use numbers, text, dates or datetimes, {_ELSE}"
    )


def _numbers(column: pl.Series, config: CleanConfig) -> ParsedTimes:
    if column.dtype.is_float():
        column = (
            column.to_frame().select(pl.when(pl.col(column.name).abs() < 9.2e18).then(pl.col(column.name))).to_series()
        )
    if column.dtype == pl.UInt64 or (column.dtype.is_integer() and column.dtype != pl.Int64):
        column = column.cast(pl.Int64, strict=False)
    if config.time_unit == "relative":
        return ParsedTimes(_scale(column, "s"))
    if config.time_unit != "auto":
        return ParsedTimes(_scale(column, config.time_unit))
    units = _units_present(column)
    if not units:
        return _calendar_days(column)
    if len(units) == 1:
        return ParsedTimes(_scale(column, next(iter(units))))
    return _mixed(column, units, config)


def _units_present(column: pl.Series) -> dict[str, int]:
    """Rows per unit, the most frequent first; min and max alone settle the usual case of one unit."""
    low, high = column.min(), column.max()
    if low is None or high is None:
        return {}
    for i, unit in enumerate(_PER_SECOND):
        if float(low) >= _FLOOR * 1000**i and float(high) < _FLOOR * 1000 ** (i + 1):  # type: ignore[arg-type]
            return {unit: len(column)}
    bounds = [_FLOOR * 1000**i for i in range(5)]
    counts = {
        unit: int(column.is_between(bounds[i], bounds[i + 1], closed="left").sum())
        for i, unit in enumerate(_PER_SECOND)
    }
    return dict(sorted(((unit, n) for unit, n in counts.items() if n), key=lambda pair: -pair[1]))


def _mixed(column: pl.Series, units: dict[str, int], config: CleanConfig) -> ParsedTimes:
    main, total = next(iter(units)), sum(units.values())
    said = " and ".join(f"{n:,} in {unit}" for unit, n in units.items())
    if config.mixed_units == "error":
        raise ColumnError(
            f"column {column.name!r} mixes units of time ({said}); convert each by its size with "
            f"--set clean.mixed_units=mend, keep {main} only with clean.mixed_units=drop, or state clean.time_unit"
        )
    frame = column.alias("t").to_frame()
    parts = pl.lit(None, dtype=pl.Int64)
    for unit in units if config.mixed_units == "mend" else (main,):
        i = list(_PER_SECOND).index(unit)
        inside = pl.col("t").is_between(_FLOOR * 1000**i, _FLOOR * 1000 ** (i + 1), closed="left")
        parts = pl.when(inside).then(_scale(column, unit)).otherwise(parts)
    small = pl.col("t") < _FLOOR
    time = frame.select(pl.when(small).then(_scale(column, main)).otherwise(parts).alias(column.name)).to_series()
    if config.mixed_units == "mend":
        return ParsedTimes(time, (f"times mixed units ({said}); each was converted by its size",), total - units[main])
    return ParsedTimes(time, (f"times mixed units ({said}); only {main} were kept",), 0)


def _scale(column: pl.Series, unit: str) -> pl.Series:
    """Numbers of a unit to Int64 milliseconds, rounded down."""
    per = _PER_SECOND[unit]
    if column.dtype.is_float():
        scaled = (column * (1000 / per)) if per <= 1000 else column / (per // 1000)
        tidy = (scaled + 1e-4).floor() if per == 1 else scaled.floor()
        return tidy.cast(pl.Int64, strict=False)
    if per <= 1000:
        factor = 1000 // per
        limit = (2**63 - 1) // factor
        safe = column if factor == 1 or int(column.abs().max() or 0) <= limit else column.clip(-limit, limit)  # type: ignore[arg-type]
        return safe if factor == 1 else safe * factor
    return column // (per // 1000)


def _calendar_days(column: pl.Series) -> ParsedTimes:
    """Eight-digit numbers such as 20110405 are days; other small numbers are no times."""
    low, high = column.min(), column.max()
    if low is None or high is None:
        return ParsedTimes(column.cast(pl.Int64))
    if float(low) >= 19_000_101 and float(high) <= 21_001_231:  # type: ignore[arg-type]
        days = column.cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)
        if days.null_count() == column.null_count():
            return ParsedTimes(
                days.cast(pl.Datetime("ms")).cast(pl.Int64), ("times were read as days written YYYYMMDD",)
            )
    raise ColumnError(
        f"column {column.name!r} holds numbers from {low!r} to {high!r}, which are no Unix times; "
        f"state the unit with --set clean.time_unit=s (ms, us, ns; relative: seconds from an unknown start), {_ELSE}"
    )


def _text(column: pl.Series, config: CleanConfig) -> ParsedTimes:
    sample = column.drop_nulls().head(1000)
    if config.time_format is None and len(sample):
        number = sample.cast(pl.Float64, strict=False)
        if number.null_count() < 0.5 * len(sample) and sample.str.len_chars().median() not in (8, 14):
            return _numbers(_from_digits(column), config)
    forms, notes = _forms(column, config)
    time = pl.Series(column.name, [None], dtype=pl.Int64).new_from_index(0, len(column))
    for form in forms:
        open_rows = time.is_null() & column.is_not_null()
        if not open_rows.any():
            break
        parsed = _parse(column if open_rows.all() else column.filter(open_rows), form, config.time_zone)
        time = parsed if open_rows.all() else time.scatter(open_rows.arg_true(), parsed)
    return ParsedTimes(time.alias(column.name), notes)


def _from_digits(column: pl.Series) -> pl.Series:
    whole = column.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == column.null_count() else column.cast(pl.Float64, strict=False)


def _forms(column: pl.Series, config: CleanConfig) -> tuple[list[str], tuple[str, ...]]:
    """Formats to try in turn: those that fit a sample first, so that a clean column is parsed once."""
    if config.time_format is not None:
        return [config.time_format], ()
    sample = column.drop_nulls()
    sample = sample.gather_every(max(1, len(sample) // 1000))
    slashes, notes = _slashed(column) if sample.str.contains(r"^\d{1,2}/\d{1,2}/\d{4}").any() else ((), ())
    forms = [*_ZONED, *_NAIVE, *slashes]
    hits = {form: len(sample) - _parse(sample, form, "UTC").null_count() for form in forms}
    return sorted(forms, key=lambda form: -hits[form]), notes


def _slashed(column: pl.Series) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """12/1/2010 is 1 December unless some first number is above 12."""
    parts = column.str.extract_groups(r"^(\d{1,2})/(\d{1,2})/\d{4}").struct.unnest().cast(pl.Int16)
    first, second = (int(parts.to_series(i).max() or 0) for i in (0, 1))  # type: ignore[arg-type]
    if first > 12 and second <= 12:
        return _DAY_FIRST, ("dates with slashes were read as day/month/year",)
    note = "dates with slashes were read as month/day/year"
    doubt = "" if second > 12 else "; nothing in the column settles it: state clean.time_format if it is day/month/year"
    return _MONTH_FIRST, (note + doubt,)


def _parse(column: pl.Series, form: str, zone: str) -> pl.Series:
    try:
        parsed = column.str.to_datetime(form, strict=False, time_unit="us")
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"clean.time_format {form!r} is not usable: {' '.join(str(error).split())[:120]}") from None
    return (parsed if getattr(parsed.dtype, "time_zone", None) else _localise(parsed, zone)).dt.timestamp("ms")


def _localise(column: pl.Series, zone: str) -> pl.Series:
    if zone == "UTC":
        return column
    try:
        return column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    except pl.exceptions.PolarsError:
        raise ConfigError(
            f"clean.time_zone {zone!r} is not known; use a name such as UTC, Europe/London or Asia/Shanghai"
        ) from None
