"""The command line as a user runs it: real processes on a small log, and bad input."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

SMALL = ["--set", "training.epochs=1", "--set", "encoder.dim=8", "--threads", "1"]


def temporec(*words: str) -> subprocess.CompletedProcess[str]:
    code = "from temporec.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    rows = [(f"u{u}", f"i{(u + 3 * t) % 30}", 1_600_000_000 + u * 50 + t * 86_400) for u in range(80) for t in range(8)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(path)
    return path


@pytest.fixture(scope="module")
def shop(log: Path) -> Path:
    out = log.parent / "shop"
    done = temporec("fit", str(log), "--model", "gru", "--out", str(out), "--protocol", "leave-last-out", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "No leak" in done.stdout
    return out


def test_fit_writes_a_whole_folder_and_leaves_nothing_beside_it(shop: Path) -> None:
    names = {path.name for path in shop.iterdir()}
    assert {"model.safetensors", "model.json", "report.html", "report.json", "run.json", "manifest.json"} <= names
    assert sorted(path.name for path in shop.parent.iterdir()) == ["log.csv", "shop"]


def test_recommend_for_a_user_and_for_a_history(shop: Path) -> None:
    answer = json.loads(temporec("recommend", str(shop), "--user", "u3", "--k", "4", "--json").stdout)
    assert [row["rank"] for row in answer["items"]] == [1, 2, 3, 4]
    assert answer["source"] == "model"
    fresh = json.loads(temporec("recommend", str(shop), "--history", "i1,i4", "--k", "2", "--json").stdout)
    assert len(fresh["items"]) == 2
    assert not {"i1", "i4"} & {row["item"] for row in fresh["items"]}


def test_everybody_into_a_file(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    assert temporec("recommend", str(shop), "--all-users", "--k", "3", "--out", str(out)).returncode == 0
    frame = pl.read_parquet(out)
    assert frame["user"].n_unique() == 80
    assert frame.group_by("user").len()["len"].unique().to_list() == [3]


def test_compare_gives_the_promised_json(log: Path) -> None:
    done = temporec("compare", str(log), "--models", "gru,mean", "--protocol", "leave-last-out", "--json", *SMALL)
    result = json.loads(done.stdout)
    assert set(result["models"]) == {"gru", "mean"}
    for figures in result["models"].values():
        assert {"test", "interval", "fit_seconds", "epochs", "peak_rss_mb"} <= set(figures)
        assert {"hit_rate@10", "ndcg@10"} <= set(figures["test"])
    assert result["verdict"]


def test_describe_and_evaluate(shop: Path, tmp_path: Path) -> None:
    stages = json.loads(temporec("describe", str(shop), "--json").stdout)
    assert stages["parameters"] == sum(stage["parameters"] for stage in stages["stages"])
    assert stages["mermaid"].startswith("graph LR")
    out = tmp_path / "p.csv"
    assert temporec("evaluate", str(shop), "--predictions", str(out)).returncode == 0
    assert len(pl.read_csv(out)) == 80


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["fit", "nowhere.csv", "--out", "x"], "does not exist"),
        (["fit", "LOG", "--out", "x", "--set", "trainign.epochs=1"], "trainign"),
        (["fit", "LOG", "--out", "x", "--model", "gpt"], "known: rnn"),
        (["fit", "LOG", "--out", "x", "--user-col", "who"], "who"),
        (["recommend", "SHOP", "--history", "i1,zzz"], "zzz"),
        (["recommend", "SHOP", "--user", "nobody"], "nobody"),
        (["recommend", "LOG", "--user", "u1"], "manifest"),
        (["similar", "SHOP", "--item", "zzz"], "zzz"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: list[str], part: str, log: Path, shop: Path, tmp_path: Path
) -> None:
    places = {"LOG": str(log), "SHOP": str(shop), "x": str(tmp_path / "x")}
    done = temporec(*[places.get(word, word) for word in words])
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_flipped_byte_is_noticed(shop: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in shop.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    done = temporec("recommend", str(copy), "--user", "u1")
    assert done.returncode == 2
    assert "damaged" in done.stderr


def test_a_newer_format_is_refused(shop: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in shop.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    done = temporec("recommend", str(copy), "--user", "u1")
    assert done.returncode == 2
    assert "Update Temporec" in done.stderr
