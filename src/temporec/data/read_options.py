"""What every reader is given, and the one place where a library's error becomes a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from temporec.config import Config
from temporec.errors import ColumnError, ReadError, TemporecError

__all__ = ["ReadOptions", "check_names", "reading"]


class ReadOptions(Config):
    """How to read a source. A registered reader is a function `(source: str, options: ReadOptions) -> pl.DataFrame`.

    Args:
        what: the word for the source in messages, for instance "log" or "items table".
        encoding: text encoding of CSV and JSON files, such as "gbk"; None is UTF-8 with or without BOM.
        query: SQL for a database; without it the URL says `?query=` or `?table=`.
    """

    what: str = "log"
    encoding: str | None = None
    query: str | None = None


@contextmanager
def reading(source: str, options: ReadOptions, hint: str) -> Iterator[None]:
    """Turn whatever a reading library raises inside the block into one `ReadError` sentence that ends with `hint`."""
    try:
        yield
    except TemporecError:
        raise
    except pl.exceptions.NoDataError:
        raise ReadError(f"{options.what} {source} is empty; it needs a header line and events below it") from None
    except pl.exceptions.DuplicateError as error:
        raise ColumnError(
            f"{options.what} {source} has two columns of one name ({_short(error)}); rename one"
        ) from None
    except (Exception, pl.exceptions.PanicException) as error:
        raise ReadError(f"{options.what} {source} cannot be read: {_short(error)}; {hint}") from None


def check_names(names: list[str], source: str, what: str) -> None:
    """Raise `ColumnError` where a column name stands twice."""
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ColumnError(
            f"{what} {source} has the column name {doubled[0]!r} more than once; rename or drop one of them"
        )


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
