"""Read a log or an items table from wherever it stands: a file, a database, or a frame in memory.

One function per format, registered by file suffix or URL scheme; a third party adds one with
`@register("reader", "orc")` and `read_table("log.orc")` finds it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from temporec.data.columns import ColumnMap, find_column, map_columns, tidy_ids
from temporec.data.csv_reader import decode_text
from temporec.data.read_options import ReadOptions, check_names, reading
from temporec.errors import ColumnError, EmptyLogError, ReadError
from temporec.registry import get, names, register

__all__ = ["ColumnMap", "ReadOptions", "map_columns", "read_items", "read_table", "read_users"]

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_PACKED = (".gz", ".bz2")
_CUT = "it may be cut off or damaged: copy or export it again"


def read_table(
    source: Any, *, what: str = "log", encoding: str | None = None, query: str | None = None
) -> pl.DataFrame:
    """Read any supported source into a Polars frame, columns and rows as they came.

    Args:
        source: path of a CSV, TSV, Parquet, Arrow/Feather or JSON-lines file; a URL `postgresql://`, `sqlite:///file`
            or `duckdb:///file`, each with `?table=` or `?query=`; a Polars frame or lazy frame, a pandas frame, a
            pyarrow table, a DuckDB relation, or a DuckDB or DB-API connection together with `query`.
        what: the word for the source in messages.
        encoding: text encoding of CSV and JSON files; UTF-8 if None.
        query: SQL for a database.

    A pandas column that mixes whole numbers and text becomes text, as it would from a CSV file.

    Raises:
        ReadError: the source is missing, damaged, in another encoding or of an unknown kind.
        ColumnError: two columns have one name, or a column mixes types.
        EmptyLogError: there are columns but no rows.
        MissingExtraError: a database driver is not installed.
    """
    options = ReadOptions(what=what, encoding=encoding, query=query)
    if isinstance(source, str | Path):
        name = str(source)
        frame = _read_named(name, options)
    else:
        name = f"({type(source).__name__})"
        frame = _read_object(source, name, options)
    if not frame.width:
        raise ReadError(f"{what} {name} has no columns; it needs at least a user and an item column")
    if frame.is_empty():
        raise EmptyLogError(f"{what} {name} has columns ({', '.join(frame.columns[:8])}) but no rows; check the export")
    return frame


def read_items(
    source: Any, item_col: str | None = None, *, encoding: str | None = None, query: str | None = None
) -> pl.DataFrame:
    """Read an items table; its id column is renamed to `item` and put first, rows without an id are dropped.

    Raises:
        ReadError, EmptyLogError: as `read_table`.
        ColumnError: no id column is found, or its ids are not whole numbers or text.
    """
    return _keyed(read_table(source, what="items table", encoding=encoding, query=query), "item", item_col)


def read_users(source: Any, user_col: str | None = None, *, encoding: str | None = None) -> pl.DataFrame:
    """Read a users table as `read_items` reads items: the id column becomes `user`; rows that stand twice count once.

    Raises:
        ReadError, EmptyLogError: as `read_table`.
        ColumnError: there is no id column, or nothing beside it, or two rows of one user differ.
    """
    read = read_table(source, what="users table", encoding=encoding)
    frame = _keyed(read, "user", user_col if user_col in read.columns else None).unique(maintain_order=True)
    if frame.width == 1:
        raise ColumnError("the users table says nothing of the users: it has no column beside their ids")
    if len(twice := frame["user"].filter(frame["user"].is_duplicated())):
        raise ColumnError(f"the users table has different rows for one user, {twice[0]!r}; keep one row per user")
    return frame


def _keyed(frame: pl.DataFrame, role: str, asked: str | None) -> pl.DataFrame:
    """The table with its ids in a first column named `role`; rows without an id and empty columns are gone."""
    name = find_column(role, frame, asked, required=True, what=f"{role}s table")
    assert name is not None
    if name != role and role in frame.columns:
        raise ColumnError(
            f"the {role}s table has a column {role!r} beside the id column {name!r}; rename or drop one of them"
        )
    ids = tidy_ids(frame[name], role)
    rest = frame.drop(name).select(pl.selectors.all() - pl.selectors.by_dtype(pl.Null))
    return pl.concat([ids.alias(role).to_frame(), rest], how="horizontal").drop_nulls(role)


@register("reader", "parquet")
@register("reader", "pq")
def read_parquet(source: str, options: ReadOptions) -> pl.DataFrame:
    """Read one Parquet file."""
    with reading(source, options, _CUT):
        return pl.read_parquet(source, glob=False, hive_partitioning=False)


@register("reader", "arrow")
@register("reader", "feather")
@register("reader", "ipc")
def read_arrow(source: str, options: ReadOptions) -> pl.DataFrame:
    """Read an Arrow IPC (Feather 2) file or stream."""
    with reading(source, options, _CUT):
        with Path(source).open("rb") as file:
            stream = file.read(6) != b"ARROW1"
        with Path(source).open("rb") as file:
            return pl.read_ipc_stream(file) if stream else pl.read_ipc(file)


@register("reader", "jsonl")
@register("reader", "ndjson")
@register("reader", "json")
def read_json(source: str, options: ReadOptions) -> pl.DataFrame:
    """Read JSON lines (one object per line), or one JSON list of objects."""
    with reading(source, options, "each line must be one JSON object with the same keys"):
        data = decode_text(Path(source).read_bytes(), source, options).encode()
        if data.lstrip()[:1] == b"[":
            return pl.read_json(data, infer_schema_length=None)
        return pl.read_ndjson(data, infer_schema_length=None)


def _read_named(name: str, options: ReadOptions) -> pl.DataFrame:
    url = _URL.match(name)
    if url is not None:
        return _call(url[1].lower(), name, options)
    path = Path(name)
    if path.is_dir():
        raise ReadError(f"{options.what} {name} is a folder; give the path of one file inside it")
    if not path.exists():
        raise ReadError(f"{options.what} {name} does not exist; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise ReadError(f"{options.what} {name} is empty (0 bytes); it needs a header line and events below it")
    suffixes = [suffix for suffix in path.suffixes if suffix.lower() not in _PACKED]
    return _call(suffixes[-1][1:].lower() if suffixes else "", name, options)


def _call(kind: str, name: str, options: ReadOptions) -> pl.DataFrame:
    known = names("reader")
    if kind not in known:
        shown = f"of type {kind!r}" if kind else "without a suffix"
        raise ReadError(f"{options.what} {name} is {shown}; readers exist for: {', '.join(known)}")
    reader: Callable[[str, ReadOptions], pl.DataFrame] = get("reader", kind)
    return reader(name, options)


def _read_object(source: Any, name: str, options: ReadOptions) -> pl.DataFrame:
    if isinstance(source, pl.DataFrame):
        return source
    package = type(source).__module__.split(".")[0]
    with reading(name, options, "give a path, a database URL, or a Polars, pandas, pyarrow or DuckDB table"):
        if isinstance(source, pl.LazyFrame):
            return source.collect()
        if package == "pandas":
            return _from_pandas(source, name, options)
        if package == "pyarrow":
            check_names(list(source.column_names), name, options.what)
            return pl.DataFrame(pl.from_arrow(source))
        if package in ("duckdb", "_duckdb") and hasattr(source, "pl"):
            return _from_duckdb(source, options)
        if hasattr(source, "cursor"):
            return pl.read_database(_query(options), source, infer_schema_length=None)
    raise ReadError(
        f"a {options.what} of type {type(source).__module__}.{type(source).__qualname__} cannot be read; "
        "give a path, a database URL, or a Polars, pandas, pyarrow or DuckDB table"
    )


def _from_duckdb(source: Any, options: ReadOptions) -> pl.DataFrame:
    """A relation as it is, or what `query` finds on a connection."""
    relation = source.sql(_query(options)) if hasattr(source, "cursor") else source
    frame: pl.DataFrame = relation.pl()
    return frame


def _query(options: ReadOptions) -> str:
    if options.query is None:
        raise ReadError("a database connection needs a query; give query='SELECT ... FROM ...'")
    return options.query


def _from_pandas(source: Any, name: str, options: ReadOptions) -> pl.DataFrame:
    """A pandas frame; object columns of whole numbers and text become text, other mixtures are refused."""
    if not hasattr(source, "columns"):
        raise ReadError(
            f"{options.what} {name} is one pandas column; give a DataFrame with user, item and time columns"
        )
    check_names([str(column) for column in source.columns], name, options.what)
    return pl.DataFrame({str(column): _pandas_column(source[column], str(column)) for column in source.columns})


def _pandas_column(column: Any, name: str) -> pl.Series:
    try:
        return pl.Series(name, pl.from_pandas(column))
    except Exception:
        values = column.astype(object).where(column.notna(), None).tolist()
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        if all(type(value) in (int, str) for value in values if value is not None):
            return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
        raise ColumnError(
            f"column {name!r} mixes values of type {', '.join(kinds)}; make it text or whole numbers"
        ) from None
