"""A users table at fit; a known or a told profile at recommend and explain."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 users of the log and one new one, `u80`."""
    path = tmp_path_factory.mktemp("users") / "users.csv"
    ids = [f"u{u}" for u in range(81)]
    pl.DataFrame({"user_id": ids, "team": [f"t{u % 3}" for u in range(81)], "age": range(20, 101)}).write_csv(path)
    return path


@pytest.fixture(scope="module")
def known(log: Path, users: Path, answered: Callable[..., str], small: list[str]) -> Path:
    out = users.parent / "shop"
    said = answered("fit", log, "--users", users, "--out", out, "--protocol", "leave-last-out", *small,
                    "--set", "profiles.until=3", "--set", "canary=false")  # fmt: skip
    assert "held-out users without events" in said
    return out


def test_profiles_at_recommend_and_explain(known: Path, answered: Callable[..., str]) -> None:
    new = json.loads(answered("recommend", known, "--user", "u80", "--json"))
    told = json.loads(answered("recommend", known, "--profile", "team=t2, age=100", "--json"))
    assert new["source"] == told["source"] == "model"
    assert new["items"] == told["items"]
    assert "profile" in answered("explain", known, "--item", "i3", "--history", "i7", "--profile", "team=t0")


def test_bad_profiles_are_one_sentence(
    known: Path, shop: Path, users: Path, log: Path, refused: Callable[..., str]
) -> None:
    assert "known: team, age" in refused("recommend", known, "--profile", "country=NL")
    assert "column=value" in refused("recommend", known, "--profile", "t2")
    assert "age='old'" in refused("recommend", known, "--profile", "age=old")
    assert "nothing that this model knows" in refused("recommend", known, "--profile", "team=t9")
    assert "fit with --users" in refused("recommend", shop, "--profile", "team=t2")
    fit = ("fit", log, "--out", users.parent / "other", "--protocol", "leave-last-out", "--users")
    assert "does not exist" in refused(*fit, users.parent / "none.csv")
    assert "no column 'job' in the users table" in refused(*fit, users, "--set", "profiles.columns=job")
