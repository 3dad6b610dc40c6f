"""Every benchmark that is quick at a tiny size runs and prints the document that it promises."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from temporec.data.synthetic import random_log

FOLDER = Path(__file__).parents[1] / "benchmarks"
SERVED = ["--log", "LOG", "--items", "none", "--dim", "8"]
TINY = {
    "add_items": ["--log", "LOG", "--items", "ITEMS", "--dim", "8", "--count", "5"],
    "calibration": [],
    "data_speed": ["--sizes", "2e3,4e3"],
    "recommend_speed": ["--log", "LOG", "--requests", "5", "--users", "30,60", "--items", "30,60", "--base", "40"],
    "startup": ["--repeats", "1"],
    "event_log": ["--events", "200", "--singles", "16", "--folder", "OUT"],
    "cold_items": ["--log", "LOG", "--items", "ITEMS", "--draws", "1", "--share", "0.2", "--set", "training.epochs=1"],
    "continual": ["--log", "WEEKS", "--weeks", "3", "--set", "model.encoder.dim=8", "--set", "full.passes=1"],
    "joint_text": ["--log", "LOG", "--items", "ITEMS", "--ways", "start,only", "--set", "training.epochs=1"],
    "serve_latency": [*SERVED, "--seconds", "1", "--settle", "0", "--rate", "20", "--flood", "1", "--connections", "2"],
    "serve_events": [*SERVED, "--rounds", "5", "--seconds", "1", "--batch", "5"],
    "serve_start": [*SERVED, "--repeats", "1", "--events", "500"],
    "serve_swaps": [*SERVED, "--swaps", "2", "--users", "2"],
    "serve_kills": [*SERVED, "--rounds", "1", "--full", "0", "--traced", "0"],
    "serve_soak": [*SERVED, "--settle", "0", "--minutes", "0.05", "--settled", "0.01", "--rate", "10"],
    "text_speed": ["--encoder", "VECTORS", "--items", "none", "--titles", "50"],
    "variants": [
        *("--log", "LOG", "--items", "ITEMS", "--share", "0.5", "--seeds", "0"),
        *("--first", "training.epochs=1", "--second", "training.epochs=1", "fuse=only"),
    ],
    "train_speed": ["--log", "LOG", "--epochs", "1", "--set", "training.tokens=256"],
    "encoders": [
        "--log",
        "LOG",
        "--kinds",
        "mean",
        "--skip-quality",
        "--lags",
        "2",
        "--lag-users",
        "20",
        "--lag-epochs",
        "1",
    ],
}
FIGURES = {
    "add_items": {"encoding_seconds", "adding_seconds", "added", "ranked"},
    "calibration": set(),
    "data_speed": {"runs", "events_per_second", "growth_exponent", "plot"},
    "recommend_speed": {"log", "one_user_ms", "all_users", "growth_with_users", "growth_with_items", "plot"},
    "event_log": {"sqlite"},
    "startup": {"seconds", "import_temporec_share_of_import_torch", "import_temporec_loads_torch", "installed_gb"},
    "continual": {"table", "weeks"},
    "cold_items": {"recall@10 of new items", "ndcg@10 of known items", "draws"},
    "joint_text": {"users", "items", "events", "ways"},
    "text_speed": {
        "encoder", "precision", "titles", "loading_seconds", "titles_per_second", "second_run",
        "seconds_of_100_000_equal_texts",
    },
    "serve_latency": {"state"},
    "serve_events": {"effect", "speed"},
    "serve_start": {"first_start", "after_a_kill", "after_a_clean_stop"},
    "serve_swaps": {"answers", "failed", "mixed", "latency_ms", "seconds_of_a_swap", "memory_mb"},
    "serve_kills": {"kills", "full_disk", "trace"},
    "serve_soak": {
        "rate", "p50", "p90", "p99", "p999", "max", "requests", "errors", "first_errors", "memory_mb", "growth",
    },
    "variants": {"users", "items", "events", "cases", "first", "second", "second - first, ndcg@10"},
    "train_speed": {"temporec", "rectools_sasrec", "times_as_fast"},
    "encoders": {"table", "hit_rate@1_by_lag", "plot"},
}  # fmt: skip
# Many processes, or many fits.
SLOW = (
    "continual", "encoders", "joint_text", "serve_events", "serve_kills", "serve_latency", "serve_soak", "serve_start",
    "serve_swaps", "train_speed",
)  # fmt: skip
BARS = {
    "add_items": 3,
    "calibration": 0,
    "cold_items": 2,
    "continual": 3,
    "data_speed": 2,
    "joint_text": 0,
    "recommend_speed": 2,
    "event_log": 1,
    "startup": 3,
    "serve_latency": 4,
    "serve_events": 2,
    "serve_start": 1,
    "serve_swaps": 2,
    "serve_kills": 5,
    "serve_soak": 2,
    "text_speed": 2,
    "train_speed": 3,
    "variants": 0,
    "encoders": 0,
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A benchmark by name, as it is when its file is started."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def found(name: str, *words: str) -> ModuleType:
        monkeypatch.setattr(sys, "argv", [str(FOLDER / f"{name}.py"), "--calibration", "0", *words])
        return importlib.import_module(name)

    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "interactions.parquet"
    random_log(400, 40, 30).write_parquet(path)
    return path


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in TINY]
)
def test_the_document(load: Any, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "vectors.txt").write_text("red 1 2\nblue 2 1\na 0 1\n", encoding="utf-8")
    names = pl.DataFrame({"item": range(30), "title": [f"thing {i} of {i % 7}" for i in range(30)]})
    names.write_parquet(tmp_path / "items.parquet")
    weeks = random_log(600, 90, 30).select(pl.col("user").alias("session_id"), pl.col("item").alias("item_id"))
    weeks.with_columns(period=pl.col("session_id") % 3).sort("period").write_parquet(tmp_path / "weeks.parquet")
    made = {"LOG": str(log), "ITEMS": str(tmp_path / "items.parquet"), "VECTORS": str(tmp_path / "vectors.txt")}
    made |= {"OUT": str(tmp_path), "WEEKS": str(tmp_path / "weeks.parquet")}
    words = [made.get(word, word) for word in TINY[name]]
    load(name, "--out", str(tmp_path), *words).main()
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"benchmark", "question", "options", "machine", "calibration", "void", "figures", "bars"}
    assert document["benchmark"] == name
    assert document["question"].endswith("?")
    assert {"before", "after", "drift"} == set(document["calibration"])
    assert document["calibration"]["before"]["bf16_gflops"] > 0
    assert set(document["figures"]) == FIGURES[name]
    assert len(document["bars"]) == BARS[name]
    for bar in document["bars"]:
        assert set(bar) == {"name", "value", "limit", "direction", "met"}
        assert (bar["met"] is None) == (bar["value"] is None)
    if "plot" in FIGURES[name]:
        assert Path(document["figures"]["plot"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("after", "void"), [(95.0, False), (89.0, True), (112.0, True)])
def test_a_drift_over_a_tenth_voids_the_run(
    load: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], after: float, void: bool
) -> None:
    module = load("calibration")
    speeds = iter([100.0, after])
    monkeypatch.setattr(module, "calibrate", lambda _: {"fp32_gflops": 50.0, "bf16_gflops": next(speeds)})
    module.main()
    assert json.loads(capsys.readouterr().out)["void"] is void


def test_bars_have_a_direction(load: Any) -> None:
    bar = load("calibration").bar
    assert bar("seconds", 2.0, 2.0)["met"]
    assert not bar("seconds", 2.1, 2.0)["met"]
    assert bar("times as fast", 41.0, 40.0, least=True)["met"]
    assert not bar("times as fast", 39.0, 40.0, least=True)["met"]


def test_useful_work_is_counted_by_hand(load: Any) -> None:
    """3 histories of 1, 2 and 5 events have 0, 1 and 4 positions with a target."""
    from temporec.data.dataset import build_dataset
    from temporec.workflow.presets import fit_config

    users = [0, 1, 1, 2, 2, 2, 2, 2]
    train = build_dataset(pl.DataFrame({"user": users, "item": list(range(8)), "time": list(range(8))}))
    config = fit_config("transformer", None, {"encoder.dim": 4, "encoder.layers": 2, "encoder.heads": 1})
    work = load("train_speed").useful_gflop(train, config)
    assert work["softmax"] == pytest.approx(3 * 2 * 5 * 8 * 4 / 1e9)
    linear, attention = 12 * 4 * 4, 2 * 4  # multiply-adds per position, and per pair of positions
    assert work["encoder"] == pytest.approx(3 * 2 * 2 * (linear * 5 + attention * (1 + 10)) / 1e9)
