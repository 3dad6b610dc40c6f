"""CSV, TSV and their relatives: separator sniffed, encoding checked, one type per column over the whole file."""

import bz2
import csv
import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

import polars as pl

from temporec.data.read_options import ReadOptions, check_names, reading
from temporec.errors import ConfigError, ReadError
from temporec.registry import register

__all__ = ["decode_text", "guess_encoding", "read_csv"]

_HEAD = 1 << 18
_SEPARATORS = ",\t;|"
_NULLS = ["", "NULL", "null", "\\N", "NaN", "nan", "<NA>", "N/A", "#N/A"]
_OPENERS: dict[str, Callable[..., IO[bytes]]] = {".gz": gzip.open, ".bz2": bz2.open}  # type: ignore[dict-item]
_HIGH = re.compile(rb"[\x80-\xff]+")


@register("reader", "csv")
@register("reader", "tsv")
@register("reader", "tab")
@register("reader", "txt")
@register("reader", "inter")
@register("reader", "item")
def read_csv(source: str, options: ReadOptions) -> pl.DataFrame:
    r"""Read delimited text with a header line; `.gz` and `.bz2` behind the suffix are unpacked.

    A column is integer or decimal only if every value in the file is; numbers with leading zeros ("007") stay text,
    so ids come out as the file spells them. Empty cells and NULL, NaN, N/A, \\N are missing.

    Raises:
        ReadError: the file is empty, not UTF-8 (the message names the likely encoding) or not a table.
        ColumnError: two columns have one name.
    """
    path = Path(source)
    with reading(source, options, "check that it is plain delimited text with one header line"):
        opener = _OPENERS.get(path.suffix.lower())
        data = None if opener is None and options.encoding is None else _unpack(path, opener)
        if data is not None and options.encoding is not None:
            data = decode_text(data, source, options).encode()
        head = data[:_HEAD] if data is not None else _head(path)
        if not head.strip(b"\xef\xbb\xbf\r\n \t"):
            raise ReadError(f"{options.what} {source} is empty; it needs a header line and events below it")
        text = _decode_head(head, source, options)
        separator = _sniff(text)
        header = next(csv.reader(io.StringIO(text), delimiter=separator), [])
        check_names([name.strip() for name in header], source, options.what)
        return _types(_parse(path if data is None else data, separator, source, options))


def decode_text(data: bytes, source: str, options: ReadOptions) -> str:
    """The text of a file in `options.encoding` (None: UTF-8); raises `ReadError` or `ConfigError` in one sentence."""
    try:
        return data.decode(options.encoding or "utf-8-sig").removeprefix("\ufeff")
    except LookupError:
        raise ConfigError(
            f"--encoding {options.encoding!r} is not known; try utf-8, gbk, big5, shift_jis or cp1252"
        ) from None
    except UnicodeDecodeError as error:
        raise _not_utf8(data, source, options, error.start) from None


def guess_encoding(data: bytes) -> str:
    """The likely encoding of text that is not UTF-8: by byte order mark, by CJK decoders, else Western European."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    runs = _HIGH.findall(data)
    if not runs or sum(len(run) == 1 for run in runs) > 0.5 * len(runs):
        return "cp1252"
    scores = {name: _fluency(data, name) for name in ("euc_kr", "gbk", "big5", "shift_jis")}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > 0.3 else "cp1252"


def _fluency(data: bytes, encoding: str) -> float:
    """Share of frequent characters among the non-ASCII characters that `encoding` finds."""
    common = {"gbk": "gb2312", "big5": "big5", "shift_jis": "shift_jis", "euc_kr": "euc_kr"}[encoding]
    found = [char for char in data.decode(encoding, errors="replace") if char > "\x7f"][:5000]
    if not found:
        return 0.0
    good = 0
    for char in found:
        code = b"" if char == "\ufffd" else char.encode(common, errors="ignore")
        first_level = len(code) == 2 and (code[0] < 0xD8 or common != "gb2312") and (code[0] < 0xC7 or common != "big5")
        good += first_level and _at_home(char, encoding)
    return good / len(found)


def _at_home(char: str, encoding: str) -> bool:
    if encoding == "euc_kr":
        return "\uac00" <= char <= "\ud7a3"
    return "\u4e00" <= char <= "\u9fff" or (encoding == "shift_jis" and "\u3040" <= char <= "\u30ff")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _unpack(path: Path, opener: Callable[..., IO[bytes]] | None) -> bytes:
    if opener is None:
        return path.read_bytes()
    with opener(path) as file:
        return file.read()


def _decode_head(head: bytes, source: str, options: ReadOptions) -> str:
    try:
        return head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(head) == _HEAD and error.start > len(head) - 4:  # a character cut by the end of the head
            return head[: error.start].decode("utf-8-sig")
        raise _not_utf8(head, source, options, error.start) from None


def _not_utf8(data: bytes, source: str, options: ReadOptions, start: int) -> ReadError:
    line = data[:start].count(b"\n") + 1
    named = options.encoding or "UTF-8"
    likely = guess_encoding(data[:2] + data[max(0, start - 100) : start + 50_000])
    said = f"{options.what} {source} is not {named} text (line {line})"
    return ReadError(f"{said}; it is probably {likely}: read it with --encoding {likely}")


def _sniff(text: str) -> str:
    """The separator that splits the first lines into equally many cells, and the most of them; a comma if none does."""
    best, most = ",", 1
    for separator in _SEPARATORS:
        rows = csv.reader(io.StringIO("\n".join(text.splitlines()[:20])), delimiter=separator)
        try:
            widths = [len(row) for row in rows if row][:10]
        except csv.Error:
            continue
        width = widths[0] if widths and len(set(widths[:-1] or widths)) == 1 else 1
        if width > most:
            best, most = separator, width
    if most > 1:
        return best
    header = text.splitlines()[0]
    return max(_SEPARATORS, key=header.count)


def _parse(source: Path | bytes, separator: str, name: str, options: ReadOptions) -> pl.DataFrame:
    try:
        return pl.read_csv(
            source, separator=separator, infer_schema=False, null_values=_NULLS, glob=False, truncate_ragged_lines=False
        )
    except pl.exceptions.ComputeError as error:
        said = str(error).lower()
        if "more fields" in said:
            raise ReadError(
                f"{options.what} {name} has a line with more cells than the header; mend that line"
            ) from None
        if "could not parse" in said:
            raise ReadError(
                f"{options.what} {name} has a quote that is not closed, or one inside a cell; double it or remove it"
            ) from None
        if "utf" not in said:
            raise
        data = source if isinstance(source, bytes) else source.read_bytes()
        decode_text(data, name, options)
        raise


def _types(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns([_typed(frame[name]) for name in frame.columns]).rename(lambda name: name.strip())


def _typed(column: pl.Series) -> pl.Series:
    """Integer, else decimal, else text; judged on a sample first so that text columns cost nothing."""
    sample = column.drop_nulls().head(1000)
    if sample.str.contains(r"^\s|\s$").any():  # "1, 2": blanks around numbers mean nothing, in text they may
        trimmed = _typed(column.str.strip_chars())
        return trimmed if trimmed.dtype.is_numeric() else column
    for dtype in (pl.Int64, pl.Float64):
        if sample.is_empty() or sample.cast(dtype, strict=False).null_count():
            continue
        padded = column.str.contains(r"^(?:\+|-?0\d|-0$)").any() if dtype == pl.Int64 else False
        if padded:
            return column
        typed = column.cast(dtype, strict=False)
        if typed.null_count() == column.null_count():
            return typed
    return column
