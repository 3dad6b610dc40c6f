"""From the names a log came with to the canonical ones: user, item, time, kind, value, order."""

import re

import polars as pl

from temporec.config import Config
from temporec.errors import ColumnError

__all__ = ["CANONICAL", "ColumnMap", "find_column", "map_columns", "tidy_ids"]

CANONICAL = ("user", "item", "time", "kind", "value", "order")
MAX_ID_BYTES = 1000
_USUAL = {
    "user": "user userid uid customerid customer visitorid memberid accountid reviewerid clientid sessionid session",
    "item": "item itemid productid product stockcode sku asin parentasin movieid songid trackid articleid bookid",
    "time": "time timestamp ts eventtime datetime date invoicedate orderdate eventdate createdat unixreviewtime",
    "kind": "kind event eventtype eventname action actiontype behavior behaviour behaviortype",
    "value": "value rating quantity qty score stars amount price unitprice",
    "order": "order orderid invoiceno invoice invoiceid basketid basket transactionid",
}


class ColumnMap(Config):
    """Which column of a log plays which role. None: look for the usual names; "": leave the role out.

    Args:
        user, item: ids; both are needed.
        time: when it happened; without one the row order counts.
        kind: what happened, such as view or buy.
        value: a rating, quantity or price.
        order: the invoice or basket that a row belongs to; cleaning needs it to find cancellations.
        context: further columns to keep under their own names.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    kind: str | None = None
    value: str | None = None
    order: str | None = None
    context: tuple[str, ...] = ()


def map_columns(frame: pl.DataFrame, columns: ColumnMap | None = None) -> pl.DataFrame:
    """Choose, rename and check the columns of a log; other columns are left out, rows stay as they are.

    The result has user and item (whole numbers or text) and, where found, time (still as it came; `clean` makes it UTC
    milliseconds), kind (text), value (number), order (text) and the context columns.

    Raises:
        ColumnError: a column is missing, named for two roles, all missing, or of a type that its role cannot have.
    """
    columns = columns or ColumnMap()
    chosen: dict[str, str] = {}
    for role in CANONICAL:
        name = find_column(role, frame, getattr(columns, role), required=role in ("user", "item"))
        taken = next((other for other, used in chosen.items() if used == name), None)
        if name is not None and taken is not None:
            raise ColumnError(
                f"column {name!r} is named for {taken} and for {role}; give each role a column of its own"
            )
        if name is not None and _usable(frame[name], role, asked=getattr(columns, role) is not None):
            chosen[role] = name
    series = [_typed(frame[name], role).alias(role) for role, name in chosen.items()]
    return pl.DataFrame([*series, *_context(frame, columns.context)])


def find_column(
    role: str, frame: pl.DataFrame, asked: str | None = None, *, required: bool = False, what: str = "log"
) -> str | None:
    """The column for a role: the one asked for, else the one with a usual name; None if there is none or asked is "".

    Raises:
        ColumnError: the column asked for, or a required one, is not there; or two columns fit equally well.
    """
    there = ", ".join(frame.columns)
    if asked:
        if asked not in frame.columns:
            raise ColumnError(f"the {what} has no column {asked!r} (--{role}-col); it has: {there}")
        return asked
    if asked is None:
        plain = {name: _plain(name) for name in frame.columns}
        for usual in _USUAL[role].split():
            fits = [name for name, known in plain.items() if known == usual]
            if len(fits) > 1:
                raise ColumnError(
                    f"columns {' and '.join(map(repr, fits))} of the {what} both look like {role}; "
                    f"choose one with --{role}-col"
                )
            if fits:
                return fits[0]
    if required:
        raise ColumnError(f"no {role} column found in the {what}; it has: {there}; name one with --{role}-col")
    return None


def tidy_ids(column: pl.Series, role: str) -> pl.Series:
    """Ids as whole numbers or text; empty text, NaN and infinite numbers become missing.

    Decimal numbers that are all whole become whole numbers (pandas writes 17850.0 where a column has gaps).

    Raises:
        ColumnError: ids are fractions, nested, dates or truth values, all missing, or longer than 1,000 bytes.
    """
    name, dtype = column.name, column.dtype
    if dtype in (pl.UInt64, pl.Int128):
        column = column.cast(pl.Int64, strict=False) if (column.max() or 0) < 2**63 else column.cast(pl.String)  # type: ignore[operator]
    elif dtype.is_integer():
        pass
    elif dtype.is_float() or dtype.is_decimal():
        column = _whole(column, role)
    elif dtype in (pl.Categorical, pl.Enum, pl.String):
        column = _text(column.cast(pl.String), role)
    elif dtype != pl.Null:
        raise ColumnError(f"{role} ids in column {name!r} are of type {dtype}; use whole numbers or text")
    if column.null_count() == len(column):
        raise ColumnError(
            f"column {name!r} ({role}) holds nothing but missing values; choose another with --{role}-col"
        )
    return column


def _whole(column: pl.Series, role: str) -> pl.Series:
    column = column.cast(pl.Float64)
    column = column.to_frame().select(pl.when(pl.col(column.name).is_finite()).then(pl.col(column.name))).to_series()
    broken = column.filter((column != column.round()) | (column.abs() > 2**53))
    if len(broken):
        raise ColumnError(
            f"{role} ids in column {column.name!r} are decimal numbers such as {broken[0]!r}; use whole numbers or text"
        )
    return column.cast(pl.Int64)


def _text(column: pl.Series, role: str) -> pl.Series:
    longest = int(column.str.len_bytes().max() or 0)  # type: ignore[arg-type]
    if longest > MAX_ID_BYTES:
        row = column.str.len_bytes().arg_max()
        raise ColumnError(
            f"{role} id in row {row} of column {column.name!r} is {longest:,} bytes long (at most {MAX_ID_BYTES:,}); "
            f"look for an unclosed quote there, or choose another column with --{role}-col"
        )
    blank = column.str.strip_chars() == ""
    return column.set(blank.fill_null(False), None) if blank.any() else column


def _plain(name: str) -> str:
    """`Customer_ID` and `customerId:token` are both `customerid`."""
    return re.sub(r"[^a-z0-9]", "", name.split(":", maxsplit=1)[0].lower())


def _usable(column: pl.Series, role: str, *, asked: bool) -> bool:
    """False where an optional column was only guessed and is empty; raises where it was asked for."""
    nothing = column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0) == len(column)
    if not nothing or len(column) == 0 or role in ("user", "item"):
        return True
    if asked or role == "time":
        raise ColumnError(
            f"column {column.name!r} ({role}) holds nothing but missing values; "
            f"choose another with --{role}-col, or leave it out with --{role}-col ''"
        )
    return False


def _typed(column: pl.Series, role: str) -> pl.Series:
    if role in ("user", "item"):
        return tidy_ids(column, role)
    if role == "time":
        return column
    if column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary):
        raise ColumnError(f"column {column.name!r} ({role}) is of type {column.dtype}; use text or numbers")
    if role in ("kind", "order"):
        return column.cast(pl.String)
    if column.dtype.is_numeric():
        return column
    number = column.cast(pl.String).cast(pl.Float64, strict=False)
    broken = column.filter(number.is_null() & column.is_not_null())
    if len(broken):
        raise ColumnError(
            f"column {column.name!r} (value) holds {str(broken[0])[:40]!r}, which is no number; "
            "choose another with --value-col, or leave it out with --value-col ''"
        )
    return number


def _context(frame: pl.DataFrame, names: tuple[str, ...]) -> list[pl.Series]:
    for name in names:
        if name not in frame.columns:
            raise ColumnError(f"the log has no context column {name!r}; it has: {', '.join(frame.columns)}")
        if name in CANONICAL:
            raise ColumnError(f"context column {name!r} has the name of a role; rename it or use --{name}-col")
    return [frame[name] for name in names]
