"""Bad input on the command line: one sentence, exit code 2, nothing half-written; what can be cleaned is cleaned."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from temporec.errors import CheckpointError
from temporec.recommend.base import Recommender

Change = Callable[[pl.DataFrame], pl.DataFrame]
FAST = ["--model", "gru", "--set", "canary=false", "--set", "baselines=[popularity]", "--protocol", "leave-last-out"]
EVERY_5TH = pl.int_range(pl.len()) % 5 == 0


def as_csv(change: Change) -> Callable[[pl.DataFrame], bytes]:
    return lambda events: change(events).write_csv().encode()


def as_parquet(change: Change) -> Callable[[pl.DataFrame], bytes]:
    def write(events: pl.DataFrame) -> bytes:
        buffer = io.BytesIO()
        change(events).write_parquet(buffer)
        return buffer.getvalue()

    return write


def same(events: pl.DataFrame) -> pl.DataFrame:
    return events


def chinese(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(item_id=pl.col("item_id").str.replace("i", "红色的杯子"))


def mixed_units(events: pl.DataFrame) -> pl.DataFrame:
    time = pl.col("timestamp")
    return events.with_columns(timestamp=pl.when(EVERY_5TH).then(time * 1000).otherwise(time))


# name: (file, what is in it, further words, what the sentence must say)
LOGS = {
    "empty": ("a.csv", lambda _: b"", [], "a.csv is empty (0 bytes); it needs a header line"),
    "header only": ("a.csv", as_csv(lambda e: e.clear()), [], "no rows"),
    "missing column": ("a.csv", as_csv(lambda e: e.drop("item_id")), [], "name one with --item-col"),
    "column asked for": ("a.csv", as_csv(same), ["--user-col", "who"], "no column 'who' (--user-col); it has: user_id"),
    "all-null ids": ("a.parquet", as_parquet(lambda e: e.with_columns(item_id=None)), [], "nothing but missing values"),
    "all-null times": ("a.csv", as_csv(lambda e: e.with_columns(timestamp=None)), [], "leave it out with --time-col"),
    "NaN times": (
        "a.parquet", as_parquet(lambda e: e.with_columns(timestamp=float("nan"))), [], "nothing but missing values",
    ),
    "NaN values": (
        "a.parquet", as_parquet(lambda e: e.with_columns(rating=float("nan"))), ["--value-col", "rating"],
        "leave it out with --value-col ''",
    ),
    "text for times": (
        "a.csv", as_csv(lambda e: e.with_columns(timestamp=pl.lit("soon"))), [],
        "column 'timestamp' holds 'soon'; none of its times can be read; give their form with --set clean.time_format=",
    ),
    "row numbers for times": (
        "a.csv", as_csv(lambda e: e.with_columns(timestamp=pl.int_range(pl.len()))), [], "no Unix times",
    ),
    "no history": ("a.csv", as_csv(lambda e: e.unique("user_id")), [], "no history has two events"),
    "one item": ("a.csv", as_csv(lambda e: e.with_columns(item_id=pl.lit("x"))), [], "about one item ('x')"),
    "mixed units": (
        "a.csv", as_csv(mixed_units), [],
        "column 'timestamp' mixes units of time (512 in s and 128 in ms); convert each by its size with --set",
    ),
    "10 MB in a cell": (
        "a.csv", as_csv(lambda e: e.with_columns(item_id=pl.when(EVERY_5TH).then(pl.lit("i")).otherwise("item_id"))
                        .with_row_index().with_columns(item_id=pl.when(pl.col("index") == 7)
                                                       .then(pl.lit("x" * 10_000_000)).otherwise("item_id"))),
        [], "row 7 of column 'item_id' is 10,000,000 bytes long (at most 1,000)",
    ),
    "half a Parquet file": (
        "a.parquet", lambda e: as_parquet(same)(e)[:1500], [], "cut off or damaged: copy or export it again",
    ),
    "GBK": ("a.csv", lambda e: chinese(e).write_csv().encode("gbk"), [], "probably gbk: read it with --encoding gbk"),
    "no such encoding": ("a.csv", as_csv(same), ["--encoding", "klingon"], "try utf-8, gbk"),
    "doubled names": ("a.csv", lambda _: b"user,item,item\n1,2,3\n", [], "'item' more than once; rename or drop one"),
    "no such format": ("a.docx", as_csv(same), [], "readers exist for: "),
}  # fmt: skip


@pytest.mark.parametrize("case", LOGS)
def test_bad_logs(case: str, events: pl.DataFrame, refused: Callable[..., str], tmp_path: Path) -> None:
    name, content, words, said = LOGS[case]
    log = tmp_path / name
    log.write_bytes(content(events))
    for verb in (["fit", log, "--out", tmp_path / "shop", *FAST], ["compare", log, "--out", tmp_path / "report"]):
        assert said in refused(*verb, *words)
    assert list(tmp_path.iterdir()) == [log]


def test_too_few_events(events: pl.DataFrame, refused: Callable[..., str], tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    events.head(3).write_csv(log)
    assert "no history has two events" in refused("fit", log, "--out", tmp_path / "shop", *FAST)
    assert "fall on one moment" in refused("compare", log)
    events.head(2).write_csv(log)
    assert "it needs some of each" in refused("compare", log, "--protocol", "leave-last-out")
    assert list(tmp_path.iterdir()) == [log]


OPTIONS = {
    "unknown part": (["--set", "trainign.epochs=1"], "'trainign.epochs'; the first part must be one of: "),
    "unknown key": (["--set", "training.epoch=1"], "'training.epoch' in FitConfig (did you mean 'epochs'?); known: "),
    "unknown key of an encoder": (["--set", "encoder.dimm=1"], "'dimm' in GRUConfig (did you mean 'dim'?); known: "),
    "unknown key of cleaning": (["--set", "clean.dublicates=1"], "'data.clean.dublicates' in Settings (did you mean"),
    "no number": (["--set", "training.epochs=many"], "should be a valid integer"),
    "no key": (["--set", "epochs"], "not of the form key=value"),
    "unknown model": (["--model", "gpt"], "known: gru"),
    "unknown protocol": (["--protocol", "random"], "'global-time' or 'leave-last-out'"),
    "no config file": (["--config", "no.yaml", "--model", "gru"], "not both"),
    "missing items": (["--items", "no.csv"], "items table no.csv does not exist"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_options(case: str, log: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    words, said = OPTIONS[case]
    assert said in refused("fit", log, "--out", tmp_path / "shop", *FAST, *words)
    assert not list(tmp_path.iterdir())


def test_bad_config_files(log: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    for text, said in [
        ("encoder: {kind: gru, dimm: 8}", "unknown option 'dimm' in GRUConfig"),
        ("epochs: 3", "unknown option 'epochs' in FitConfig"),
        ("encoder: [", "is not valid YAML"),
        ("- gru", "holds list, not a mapping"),
    ]:
        file.write_text(text)
        assert said in refused("fit", log, "--out", tmp_path / "shop", "--config", file)
    assert list(tmp_path.iterdir()) == [file]


QUERIES = {
    "unknown item": (["recommend", "SHOP", "--history", "i1,zzz"], "zzz"),
    "unknown user": (["recommend", "SHOP", "--user", "nobody"], "nobody"),
    "no items wanted": (["recommend", "SHOP", "--user", "u1", "--k", "0"], "at least 1"),
    "no time": (["recommend", "SHOP", "--user", "u1", "--at", "soon"], "not ISO 8601"),
    "no such filter": (["recommend", "SHOP", "--user", "u1", "--category", "colour=red"], "colour"),
    "nowhere to write": (["recommend", "SHOP", "--all-users"], "--out FILE.parquet"),
    "no such folder": (["recommend", "SHOP", "--all-users", "--out", "no/all.parquet"], "no does not exist"),
    "no model": (["recommend", "LOG", "--user", "u1"], "manifest"),
    "unknown similar": (["similar", "SHOP", "--item", "zzz"], "zzz"),
    "older log": (["evaluate", "SHOP", "LOG"], "no event of the log is later"),
    "output is a file": (["fit", "LOG", "--out", "LOG"], "exists and is not a model folder"),
    "report is a file": (["compare", "LOG", "--out", "LOG"], "is a file"),
}


@pytest.mark.parametrize("case", QUERIES)
def test_bad_queries(case: str, log: Path, shop: Path, refused: Callable[..., str]) -> None:
    words, said = QUERIES[case]
    places = {"LOG": log, "SHOP": shop}
    assert said in refused(*[places.get(word, word) for word in words])
    assert sorted(path.name for path in shop.parent.iterdir()) == ["log.csv", "shop"]


def test_a_flipped_byte_in_any_file_is_noticed(shop: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    copy = shutil.copytree(shop, tmp_path / "copy")
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        data = bytearray(whole)
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
        assert "restore" in refused("recommend", copy, "--user", "u1"), path.name
        path.write_bytes(whole)
        path.unlink()
        assert path.name in refused("evaluate", copy)
        path.write_bytes(whole)
    assert len(list(copy.iterdir())) > 8


def test_a_newer_format_is_refused(shop: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    copy = shutil.copytree(shop, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "format": 99, "temporec": "9.0"}))
    said = refused("recommend", copy, "--user", "u1")
    assert "written by Temporec 9.0 in format 99; this version reads up to 1. Update Temporec." in said


def test_units_are_mended_where_asked_and_file_order_does_not_matter(
    answered: Callable[..., str], events: pl.DataFrame, small: list[str], tmp_path: Path
) -> None:
    mixed_units(events).sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "mixed.csv")
    said = answered(
        "fit", tmp_path / "mixed.csv", "--out", tmp_path / "mixed", *FAST, *small, "--set", "clean.mixed_units=mend"
    )
    assert "changed 128 (20.00%): times mixed units (512 in s and 128 in ms); each was converted by its size" in said
    log = Recommender.load(tmp_path / "mixed").dataset.interactions
    assert sorted(set((log.time // 1000).tolist())) == sorted(set(events["timestamp"].to_list()))


def test_mixed_ids_become_text_and_the_report_says_so(
    answered: Callable[..., str], events: pl.DataFrame, small: list[str], tmp_path: Path
) -> None:
    number = pl.col("user_id").str.slice(1).cast(pl.Int64)
    rows = events.with_columns(user_id=number).to_dicts()
    text = [{**row, "user_id": f"u{row['user_id']}"} if row["user_id"] < 3 else row for row in rows]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, text)))
    said = answered("fit", tmp_path / "log.jsonl", "--out", tmp_path / "shop", *FAST, *small)
    assert "user ids are whole numbers and text such as 'u0'; all of them are read as text" in said
    model = Recommender.load(tmp_path / "shop")
    assert len(model.users) == 80
    assert model.recommend(user=7, k=3).ids == model.recommend(user="7", k=3).ids
    assert len(model.recommend(user="u1", k=3)) == 3


def test_gbk_is_read_where_told_and_numbers_that_are_none_count_as_missing(
    answered: Callable[..., str], events: pl.DataFrame, small: list[str], tmp_path: Path
) -> None:
    value = pl.when(EVERY_5TH).then(float("inf")).otherwise(1.0 + pl.int_range(pl.len()) % 4)
    log = tmp_path / "log.csv"
    log.write_bytes(chinese(events).with_columns(rating=value).write_csv().encode("gbk"))
    said = answered(
        "fit", log, "--out", tmp_path / "shop", *FAST, *small, "--encoding", "gbk", "--set", "events=[event_value]"
    )
    assert "finite_values: changed 128 (20.00%)" in said
    top = Recommender.load(tmp_path / "shop").recommend(user="u7", k=1).ids[0]
    assert str(top).startswith("红色的杯子")


def test_a_full_disk(small_disk: Path, log: Path, shop: Path, small: list[str], refused: Callable[..., str]) -> None:
    said = refused("fit", log, "--out", small_disk / "shop", *FAST, *small, "--set", "encoder.dim=192", "--json")
    assert "No space left on device" in said
    assert "free space, then give the same command with --resume" in said
    assert not list(small_disk.iterdir())
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(800_000))
    for name in ("all.parquet", "all.csv"):
        assert "No space left" in refused("recommend", shop, "--all-users", "--out", small_disk / name)
    assert "No space left" in refused("evaluate", shop, "--predictions", small_disk / "p.csv")
    assert "No space left" in refused("fit", log, "--out", small_disk / "shop", *FAST)
    with pytest.raises(CheckpointError, match="No space left"):
        Recommender.load(shop).save(small_disk / "copy")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_ctrl_c_says_how_to_go_on_and_going_on_works(
    log: Path, small: list[str], answered: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    out, state = tmp_path / "shop", tmp_path / "shop.resume"
    words = ["fit", str(log), *FAST, *small, "--no-refit", "--json", "--set", "run.precision=fp32"]
    words += ["--set", "training.epochs=20", "--set", "training.patience=20", "--set", "training.tokens=64"]
    code = "from temporec.cli.main import run; run()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (state / "train" / "current").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    assert stdout == ""
    assert stderr == (
        f"temporec: stopped by Ctrl-C; give the same command with --resume to go on from {state}, "
        "or delete that folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["shop.resume"]
    shutil.copytree(state, tmp_path / "broken.resume")
    weights = next((tmp_path / "broken.resume" / "train").glob("*/model.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert "model.safetensors is damaged" in refused(*words, "--out", tmp_path / "broken", "--resume")
    figures = json.loads(answered(*words, "--out", out, "--resume"))["models"]["gru"]
    assert figures["epochs_run"] == 20
    assert out.exists()
    assert not state.exists()
