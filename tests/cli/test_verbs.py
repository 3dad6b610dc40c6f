"""The command line as a user runs it: real processes on a small log, and bad input."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_fit_writes_a_whole_folder_and_leaves_nothing_beside_it(shop: Path) -> None:
    names = {path.name for path in shop.iterdir()}
    assert {"model.safetensors", "model.json", "report.html", "report.json", "run.json", "manifest.json"} <= names
    assert sorted(path.name for path in shop.parent.iterdir()) == ["log.csv", "shop"]


def test_recommend_for_a_user_and_for_a_history(temporec: Run, shop: Path) -> None:
    answer = json.loads(temporec("recommend", shop, "--user", "u3", "--k", "4", "--json").stdout)
    assert [row["rank"] for row in answer["items"]] == [1, 2, 3, 4]
    assert answer["source"] == "model"
    fresh = json.loads(temporec("recommend", shop, "--history", "i1,i4", "--k", "2", "--json").stdout)
    assert len(fresh["items"]) == 2
    assert not {"i1", "i4"} & {row["item"] for row in fresh["items"]}


def test_everybody_into_a_file(temporec: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    assert temporec("recommend", shop, "--all-users", "--k", "3", "--out", out).returncode == 0
    frame = pl.read_parquet(out)
    assert frame["user"].n_unique() == 80
    assert frame.group_by("user").len()["len"].unique().to_list() == [3]


def test_compare_gives_the_promised_json(temporec: Run, small: list[str], log: Path) -> None:
    done = temporec("compare", log, "--models", "gru,mean", "--protocol", "leave-last-out", "--json", *small)
    result = json.loads(done.stdout)
    assert set(result["models"]) == {"gru", "mean"}
    for figures in result["models"].values():
        assert {"test", "interval", "fit_seconds", "epochs", "peak_rss_mb"} <= set(figures)
        assert {"hit_rate@10", "ndcg@10"} <= set(figures["test"])
    assert result["verdict"]


def test_describe_and_evaluate(temporec: Run, shop: Path, tmp_path: Path) -> None:
    stages = json.loads(temporec("describe", shop, "--json").stdout)
    assert stages["parameters"] == sum(stage["parameters"] for stage in stages["stages"])
    assert stages["mermaid"].startswith("graph LR")
    out = tmp_path / "p.csv"
    assert temporec("evaluate", shop, "--predictions", out).returncode == 0
    assert len(pl.read_csv(out)) == 80


def test_bad_input_is_one_sentence_and_exit_code_2(temporec: Run, tmp_path: Path) -> None:
    done = temporec("fit", "nowhere.csv", "--out", tmp_path / "x")
    assert done.returncode == 2
    assert done.stderr == "temporec: log nowhere.csv does not exist; check the path\n"
    assert not list(tmp_path.iterdir())
