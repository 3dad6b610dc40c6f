"""learn and models on the command line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from temporec.store.events import open_event_log
from temporec.store.records import Record
from temporec.store.versions import Home


@pytest.fixture
def served(shop: Path, tmp_path: Path) -> Path:
    """A fitted shop of its own, with 300 events in the log of its home."""
    folder = tmp_path / "shop"
    shutil.copytree(shop, folder)
    home = Home.open(folder)
    with open_event_log(home.events_path) as log:
        for user in range(60):
            items = [f"i{(user + 3 * t) % 30}" for t in range(5)]
            bodies = [{"user": f"n{user}", "item": item, "time": t} for t, item in enumerate(items)]
            log.append([Record(f"{user}-{body['time']}", "events", body, f"n{user}") for body in bodies])
    return folder


def test_learn_once_then_look_at_the_versions(served: Path, answered: Callable[..., str]) -> None:
    done = json.loads(answered("learn", served, "--once", "--json", "--set", "round=100"))
    assert (done["events"], done["offset"], done["written"], done["current"]) == (300, 300, "v2", "v1")
    assert 0 <= done["ndcg"] <= 1
    again = answered("learn", served, "--once")
    assert "0 events learned up to offset 300; no event could be predicted" in again
    listed = answered("models", "list", served)
    assert listed.splitlines()[0].startswith("   * v1")
    assert "offset 300  from v1" in listed
    assert "v2 is current; v1 still answers 20% of the users; before it: v1" in answered(
        "models", "activate", served, "v2", "--share", "0.2"
    )
    assert listed != answered("models", "list", served)
    plain = json.loads(answered("models", "list", served, "--json"))
    assert [each["name"] for each in plain["versions"]] == ["v1", "v2"]
    assert plain["pointer"]["control"] == "v1"
    assert json.loads(answered("models", "rollback", served, "--json"))["current"] == "v1"


def test_what_cannot_be_is_refused_in_one_sentence(served: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "no version named 'v9'; known: v1" in refused("models", "activate", served, "v9")
    assert "no version came before 'v1'" in refused("models", "rollback", served)
    assert "does not exist" in refused("learn", tmp_path / "none", "--once")
    assert "window" in refused("learn", served, "--once", "--set", "gate.window=10")
    assert "wrong" in refused("learn", served, "--once", "--set", "wrong=1")
