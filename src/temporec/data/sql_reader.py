"""Logs that stand in a database: PostgreSQL and SQLite through ADBC or connectorx, DuckDB through its own package."""

import importlib
import re
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import polars as pl

from temporec.data.read_options import ReadOptions, reading
from temporec.errors import ConfigError, MissingExtraError, ReadError
from temporec.registry import register

__all__ = ["mask_password", "read_duckdb", "read_postgres", "read_sqlite"]

_HINT = "check the URL, the query and the rights of the database user"


@register("reader", "postgresql")
@register("reader", "postgres")
def read_postgres(source: str, options: ReadOptions) -> pl.DataFrame:
    """Read `postgresql://user:password@host/database?table=events` (or `?query=SELECT ...`, or the option `query`).

    Raises:
        MissingExtraError: neither ADBC nor connectorx is installed.
        ReadError: no connection, or the query fails. Passwords never stand in a message.
    """
    url, query = _split(source, options)
    shown = mask_password(url)
    with reading(shown, options, _HINT):
        if _has("adbc_driver_postgresql"):
            return _adbc("adbc_driver_postgresql.dbapi", url, query)
        if _has("connectorx"):
            return pl.read_database_uri(query, url.replace("postgres://", "postgresql://", 1), engine="connectorx")
    raise MissingExtraError("reading PostgreSQL needs ADBC or connectorx. Run: pip install 'temporec[sql]'")


@register("reader", "sqlite")
def read_sqlite(source: str, options: ReadOptions) -> pl.DataFrame:
    """Read `sqlite:///folder/file.db?table=events`; four slashes start an absolute path.

    Takes ADBC or connectorx where one is installed and Python's own sqlite3 elsewhere.

    Raises:
        ReadError: the file does not exist, is no database, or the query fails.
    """
    path, query = _file(source, options)
    with reading(str(path), options, _HINT):
        if _has("adbc_driver_sqlite"):
            return _adbc("adbc_driver_sqlite.dbapi", str(path), query)
        if _has("connectorx"):
            return pl.read_database_uri(query, f"sqlite://{quote(str(path.resolve()))}", engine="connectorx")
        with closing(importlib.import_module("sqlite3").connect(path)) as connection:
            return pl.read_database(query, connection, infer_schema_length=None)


@register("reader", "duckdb")
def read_duckdb(source: str, options: ReadOptions) -> pl.DataFrame:
    """Read `duckdb:///folder/file.duckdb?table=events`; relations and connections go to `read_table` as they are.

    Raises:
        MissingExtraError: DuckDB is not installed.
        ReadError: the file does not exist, is no database, or the query fails.
    """
    path, query = _file(source, options)
    if not _has("duckdb"):
        raise MissingExtraError("reading DuckDB needs its package. Run: pip install 'temporec[sql]'")
    with (
        reading(str(path), options, _HINT),
        closing(importlib.import_module("duckdb").connect(str(path), read_only=True)) as base,
    ):
        frame: pl.DataFrame = base.sql(query).pl()
        return frame


def mask_password(url: str) -> str:
    """The URL with `***` for its password, fit for messages and logs."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _adbc(module: str, where: str, query: str) -> pl.DataFrame:
    with closing(importlib.import_module(module).connect(where)) as connection:
        frame = pl.read_database(query, connection)
    return frame


def _file(source: str, options: ReadOptions) -> tuple[Path, str]:
    """The database file of a URL, checked so that no driver creates an empty one, and the query."""
    url, query = _split(source, options)
    text = url.split("://", 1)[1].removeprefix("/")
    path = Path(text)
    if not path.exists() and not path.is_absolute() and Path("/" + text).exists():
        path = Path("/" + text)
    if not path.is_file():
        raise ReadError(
            f"{options.what} database {path} does not exist; three slashes start a relative path, four an absolute one"
        )
    return path, query


def _split(source: str, options: ReadOptions) -> tuple[str, str]:
    """The URL without our own parameters `query` and `table`, and the SQL that they ask for."""
    parts = urlsplit(source)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    own = {key: value for key, value in pairs if key in ("query", "table")}
    rest = urlencode([(key, value) for key, value in pairs if key not in own])
    scheme, tail = source.split("://", 1)
    url = f"{scheme}://{tail.split('?', 1)[0]}" + (f"?{rest}" if rest else "")
    query = options.query or own.get("query")
    if query is None and "table" in own:
        query = "SELECT * FROM " + ".".join('"' + part.replace('"', '""') + '"' for part in own["table"].split("."))
    if query is None:
        raise ConfigError(
            f"{mask_password(url)} names no table; add ?table=NAME to the URL or give --query 'SELECT ...'"
        )
    return url, query


def _has(module: str) -> Any:
    return find_spec(module) is not None
