"""Readers: every form of a log gives the same frame, and every broken one gives one clear sentence."""

import gzip
import io
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from temporec import registry
from temporec.data import sql_reader
from temporec.data.csv_reader import guess_encoding
from temporec.data.readers import ColumnMap, map_columns, read_items, read_table
from temporec.errors import ColumnError, ConfigError, EmptyLogError, MissingExtraError, ReadError, TemporecError

LOG = pl.DataFrame({"user_id": [1, 1, 2], "item_id": ["a", "b", "é中"], "timestamp": [10**9, 10**9 + 5, 10**9 + 9]})


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "parquet", "arrow", "feather", "jsonl", "json"])
def test_every_file_format_gives_the_same_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    {
        "csv": lambda: LOG.write_csv(path, include_bom=True),
        "tsv": lambda: LOG.write_csv(path, separator="\t"),
        "txt": lambda: LOG.write_csv(path, separator=";"),
        "parquet": lambda: LOG.write_parquet(path),
        "arrow": lambda: LOG.write_ipc(path),
        "feather": lambda: LOG.write_ipc_stream(path),
        "jsonl": lambda: LOG.write_ndjson(path),
        "json": lambda: LOG.write_json(path),
    }[suffix]()
    assert_frame_equal(read_table(path), LOG)
    assert_frame_equal(read_table(str(path)), LOG)


def test_frames_in_memory() -> None:
    pandas, duckdb = pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    for source in (LOG, LOG.lazy(), LOG.to_arrow(), pandas.DataFrame(LOG.to_dict(as_series=False))):
        assert_frame_equal(read_table(source), LOG)
    base = duckdb.connect()
    base.register("frame", LOG.to_arrow())
    base.execute("create table log as select * from frame")
    assert_frame_equal(read_table(base.sql("select * from log")), LOG)
    assert_frame_equal(read_table(base, query="select * from log"), LOG)
    with pytest.raises(ReadError, match="needs a query"):
        read_table(base)


def test_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.db"
    with sqlite3.connect(path) as base:
        base.execute("create table log (user_id integer, item_id text, timestamp integer)")
        base.executemany("insert into log values (?, ?, ?)", LOG.rows())
    base.close()
    url = f"sqlite:///{path}"
    assert_frame_equal(read_table(f"{url}?table=log"), LOG)
    assert_frame_equal(read_table(f"sqlite://{path}", query="select * from log where user_id = 2"), LOG[2:])
    for bad, error in [(url, ConfigError), (f"{url}?table=no", ReadError), (f"{url}x?table=log", ReadError)]:
        with pytest.raises(error):
            read_table(bad)
    assert not (tmp_path / "log.dbx").exists()
    monkeypatch.setattr(sql_reader, "_has", lambda module: False)
    assert_frame_equal(read_table(f"{url}?table=log"), LOG)  # Python's own sqlite3
    with pytest.raises(MissingExtraError, match=r"temporec\[sql\]"):
        read_table("postgresql://me:secret@localhost/shop?table=log&sslmode=require")


def test_duckdb_file(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "log.duckdb"
    with duckdb.connect(str(path)) as base:
        base.register("frame", LOG.to_arrow())
        base.execute('create table "my log" as select * from frame')
    assert_frame_equal(read_table(f"duckdb:///{path}?table=my%20log"), LOG)


def test_passwords_are_never_shown() -> None:
    assert sql_reader.mask_password("postgresql://me:p%40ss:w@db/shop") == "postgresql://me:***@db/shop"
    with pytest.raises(TemporecError) as caught:
        read_table("postgresql://me:secret@localhost/shop")
    assert "secret" not in str(caught.value)


def test_csv_details(tmp_path: Path) -> None:
    text = 'user|item|n|x\n007|"a|b\nc"|1|1.5\n12|NULL|2|\n'
    frame = read_table(write(tmp_path / "a.csv", text))
    assert frame.rows() == [("007", "a|b\nc", 1, 1.5), ("12", None, 2, None)]
    packed = read_table(write(tmp_path / "a.csv.gz", gzip.compress(text.encode())))
    assert_frame_equal(packed, frame)
    spaced = read_table(write(tmp_path / "c.csv", "user, item\n 1, a\n2, 3\n"))
    assert spaced.rows() == [(1, " a"), (2, " 3")]
    mixed = "user,item\n" + "".join(f"{i},1\n" for i in range(3000)) + "A7,1\n"
    assert read_table(write(tmp_path / "b.csv", mixed)).schema == {"user": pl.String, "item": pl.Int64}


def test_third_party_reader(tmp_path: Path) -> None:
    @registry.register("reader", "mylog")
    def read(source: str, options: object) -> pl.DataFrame:
        return LOG

    try:
        assert read_table(write(tmp_path / "x.mylog", "x")) is LOG
    finally:
        del registry._entries["reader"]["mylog"]


GBK = "用户,商品,时间\n张三,红色的杯子和盘子,1\n李四,蓝色的书包,2\n"


def test_gbk_is_named_and_then_read(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", GBK.encode("gbk"))
    with pytest.raises(ReadError, match="--encoding gbk"):
        read_table(path)
    frame = read_table(path, encoding="gbk")
    assert frame.columns == ["用户", "商品", "时间"]
    assert frame["用户"].to_list() == ["张三", "李四"]
    with pytest.raises(ConfigError, match="klingon"):
        read_table(path, encoding="klingon")
    with pytest.raises(ReadError, match="not ascii text"):
        read_table(path, encoding="ascii")


def test_gbk_far_behind_the_head_of_the_file(tmp_path: Path) -> None:
    rows = b"user,item\n" + b"1,abc\n" * 100_000 + "2,红色的杯子和盘子\n".encode("gbk")
    with pytest.raises(ReadError, match=r"line 100002.*--encoding gbk"):
        read_table(write(tmp_path / "log.csv", rows))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("用户商品时间红色的杯子和盘子", "gbk"),
        ("使用者與商品的時間記錄", "big5"), ("ユーザーと商品の時間です", "shift_jis"),
        ("사용자와 상품의 시간 기록", "euc_kr"), ("café, Zürich, señor", "cp1252"), ("user,item", "utf-16"),
    ],
)  # fmt: skip
def test_guess_encoding(text: str, encoding: str) -> None:
    assert guess_encoding(text.encode(encoding)) == encoding


def half_parquet() -> bytes:
    buffer = io.BytesIO()
    LOG.write_parquet(buffer)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


BROKEN_FILES = {
    "no bytes": ("a.csv", b"", ReadError, "0 bytes"),
    "blank": ("a.csv", b"\xef\xbb\xbf \n\n", ReadError, "is empty"),
    "header only": ("a.csv", b"user,item\n", EmptyLogError, "no rows"),
    "doubled names": ("a.csv", b"user,item,user\n1,2,3\n", ColumnError, "'user' more than once"),
    "ragged": ("a.csv", b"user,item\n1,2\n1,2,3,4\n", ReadError, "more cells than the header"),
    "open quote": ("a.csv", b'user,item\n1,"2\n1,2\n', ReadError, "quote that is not closed"),
    "half parquet": ("a.parquet", half_parquet(), ReadError, "cut off"),
    "half arrow": ("a.arrow", b"ARROW1\0\0abc", ReadError, "cut off"),
    "no json": ("a.jsonl", b'{"user": 1}\n{"user": ', ReadError, "JSON object"),
    "json utf-16": ("a.json", '{"user": 1}'.encode("utf-16"), ReadError, "utf-16"),
    "unknown": ("a.docx", b"x", ReadError, "readers exist for: .*csv.*parquet"),
    "no suffix": ("log", b"x", ReadError, "without a suffix"),
    "no gzip": ("a.csv.gz", b"user,item\n1,2\n", ReadError, "cannot be read"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_broken_files_give_one_sentence(tmp_path: Path, case: str) -> None:
    name, data, error, words = BROKEN_FILES[case]
    with pytest.raises(error, match=words) as caught:
        read_table(write(tmp_path / name, data))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_missing_things() -> None:
    for source, words in [("no/such.csv", "does not exist"), (".", "is a folder"), ("s3x://a/b.csv", "'s3x'")]:
        with pytest.raises(ReadError, match=words):
            read_table(source)
    with pytest.raises(ReadError, match=r"builtins\.int"):
        read_table(7)
    with pytest.raises(ReadError, match="no columns"):
        read_table(pl.DataFrame())


def test_pandas_trouble() -> None:
    pandas = pytest.importorskip("pandas")
    mixed = read_table(pandas.DataFrame({"user": [1, "b", None], "item": [1.0, None, 3.0]}))
    assert mixed["user"].to_list() == ["1", "b", None]
    assert map_columns(mixed)["item"].to_list() == [1, None, 3]
    with pytest.raises(ColumnError, match="mixes values of type float, str"):
        read_table(pandas.DataFrame({"user": [1.5, "b"], "item": [1, 2]}))
    with pytest.raises(ColumnError, match="more than once"):
        read_table(pandas.DataFrame([[1, 2]], columns=["user", "user"]))


@pytest.mark.parametrize(
    "names",
    [
        ("user_id", "item_id", "timestamp"), ("CustomerID", "StockCode", "InvoiceDate"), ("userId", "movieId", "ts"),
        ("visitorid", "itemid", "event_time"), ("session_id", "product_id", "datetime"), ("USER", "asin", "date"),
        ("user_id:token", "item_id:token", "timestamp:float"),
    ],
)  # fmt: skip
def test_usual_names_are_found(names: tuple[str, str, str]) -> None:
    frame = map_columns(pl.DataFrame({"x": [0], **{name: [i] for i, name in enumerate(names)}}))
    assert frame.columns == ["user", "item", "time"]
    assert frame.row(0) == (0, 1, 2)


def test_asked_columns_roles_and_context() -> None:
    log = pl.DataFrame({"a": [1], "b": ["x"], "rating": ["4.5"], "event": ["buy"], "country": ["UK"], "date": [1]})
    frame = map_columns(log, ColumnMap(user="a", item="b", time="", context=("country",)))
    assert frame.to_dicts() == [{"user": 1, "item": "x", "kind": "buy", "value": 4.5, "country": "UK"}]


BAD_COLUMNS = {
    "missing": (
        LOG,
        ColumnMap(user="nobody"),
        r"no column 'nobody' \(--user-col\); it has: user_id, item_id, timestamp",
    ),
    "not found": (LOG.drop("item_id"), ColumnMap(), "no item column found.*--item-col"),
    "two alike": (LOG.with_columns(userId=1), ColumnMap(), "'user_id' and 'userId'"),
    "one for two": (LOG, ColumnMap(item="user_id"), "named for user and for item"),
    "all null": (LOG.with_columns(user_id=None), ColumnMap(), "nothing but missing"),
    "time all null": (LOG.with_columns(timestamp=None), ColumnMap(), "nothing but missing"),
    "blank ids": (LOG.with_columns(item_id=pl.lit("  ")), ColumnMap(), "nothing but missing"),
    "fractions": (LOG.with_columns(user_id=1.5), ColumnMap(), "decimal numbers such as 1.5"),
    "all nan": (LOG.with_columns(user_id=float("nan")), ColumnMap(), "nothing but missing"),
    "nested": (LOG.with_columns(user_id=pl.lit([1])), ColumnMap(), "of type List"),
    "10 MB": (
        LOG.with_columns(item_id=pl.Series(["a", "x" * 10_000_000, "b"])),
        ColumnMap(),
        "row 1.*10,000,000 bytes",
    ),
    "text value": (LOG.with_columns(rating=pl.lit("good")), ColumnMap(), "'good', which is no number"),
    "context": (LOG, ColumnMap(context=("shop",)), "no context column 'shop'"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_bad_columns_give_one_sentence(case: str) -> None:
    frame, columns, words = BAD_COLUMNS[case]
    with pytest.raises(ColumnError, match=words) as caught:
        map_columns(frame, columns)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_ten_megabytes_in_a_cell(tmp_path: Path) -> None:
    data = "item,title\n1,short\n2," + "x" * 10_000_000 + "\n"
    path = write(tmp_path / "items.csv", data)
    assert read_items(path)["title"].str.len_bytes().to_list() == [5, 10_000_000]
    with pytest.raises(ColumnError, match="unclosed quote"):
        map_columns(read_table(write(tmp_path / "log.csv", 'user,item\n1,2\n1,"' + "x" * 10_000_000 + '"\n')))


def test_infinite_ids_are_missing() -> None:
    frame = map_columns(pl.DataFrame({"user": [1.0, float("nan"), float("inf")], "item": [1, 2, 3]}))
    assert frame["user"].to_list() == [1, None, None]


def test_items_table() -> None:
    items = read_items(pl.DataFrame({"title": ["A", "B"], "asin": [1.0, None], "nothing": [None, None]}))
    assert items.to_dicts() == [{"item": 1, "title": "A"}]
    with pytest.raises(ColumnError, match="no column 'sku'"):
        read_items(items, "sku")


IDS = st.one_of(
    st.integers(-(2**62), 2**62),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=12), text=st.booleans())
def test_any_ids_survive_csv_and_parquet(tmp_path: Path, rows: list[tuple[int | str, int | str]], text: bool) -> None:
    """Integers stay integers, text stays the same text; only blanks and the documented words become missing."""
    users = [f"u{row[0]}" if text else len(str(row[0])) for row in rows]
    items = [f"i{row[1]}".replace("\r", "") for row in rows]
    frame = pl.DataFrame({"user": users, "item": items})
    frame.write_csv(tmp_path / "a.csv", quote_style="non_numeric")
    frame.write_parquet(tmp_path / "a.parquet")
    for suffix in ("csv", "parquet"):
        assert_frame_equal(map_columns(read_table(tmp_path / f"a.{suffix}")), frame)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), suffix=st.sampled_from(["csv", "parquet", "arrow", "jsonl"]))
def test_any_bytes_give_a_frame_or_one_sentence(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", data)
    try:
        outcome = " ".join(map_columns(read_table(path)).columns)
    except TemporecError as error:
        outcome = str(error)
    assert outcome.strip()
