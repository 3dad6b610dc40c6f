"""Versions are whole or absent, the pointer is old or new, and no name leads out of the folder."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from temporec.errors import CheckpointError, ConfigError, StoreError, UnknownNameError
from temporec.store.events import open_event_log
from temporec.store.versions import Home

SWAPPER = """
import sys
from pathlib import Path
from temporec.store.versions import Home

def write(folder):
    for name in ("a", "b", "manifest.json"):
        (folder / name).write_text("{}" + " " * 100_000)

home = Home.open(sys.argv[1])
print("ready", flush=True)
while True:
    name = home.add(write, parent=home.pointer().current, log_offset=1, metrics={})
    print("added", name, flush=True)
    pointer = home.activate(name, control="v1", share=0.5)
    print("active", pointer.serial, pointer.current, flush=True)
    home.prune(3)
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "part").mkdir(parents=True)
    for name in ("manifest.json", "weights", "part/table"):
        (folder / name).write_text("{}")
    return folder


def write(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")
    (folder / "learner.json").write_text("{}")


def add(home: Home, parent: str | None = None, offset: int = 0) -> str:
    return home.add(write, parent=parent, log_offset=offset, metrics={"ndcg@10": 0.25})


def test_a_checkpoint_gets_a_home_beside_it(checkpoint: Path) -> None:
    before = int(time.time() * 1000) - 1
    home = Home.open(checkpoint)
    assert home.path == checkpoint.with_name("shop.service")
    assert home.path.stat().st_mode & 0o077 == 0
    assert (home.events_path.name, home.snapshot_path.name, home.tokens_path.name) == (
        "events.db", "snapshot", "tokens.json",
    )  # fmt: skip
    (first,) = home.versions()
    assert (first.name, first.log_offset, first.parent, first.metrics, first.is_current) == ("v1", 0, None, {}, True)
    assert before < first.created < time.time() * 1000 + 1
    pointer = home.pointer()
    assert (pointer.current, pointer.previous, pointer.control, pointer.share, pointer.serial) == (
        "v1", None, None, 0.0, 1,
    )  # fmt: skip
    assert {str(path.relative_to(home.folder("v1"))) for path in home.folder("v1").rglob("*") if path.is_file()} == {
        "manifest.json", "weights", "part/table", "version.json",
    }  # fmt: skip
    assert not (checkpoint / "version.json").exists()
    for again in (home.path, checkpoint, f"{checkpoint}/"):
        assert Home.open(again).path == home.path
    assert Home.open(checkpoint).versions() == [first]


def test_a_checkpoint_fitted_anew_becomes_the_current_version_once(checkpoint: Path) -> None:
    home = Home.open(checkpoint)
    home.activate(add(home, "v1", 7))
    assert Home.open(checkpoint).pointer().current == "v2"
    os.replace(checkpoint, checkpoint.with_name("old"))
    checkpoint.mkdir()
    (checkpoint / "manifest.json").write_text('{"new": 1}')
    for _ in range(2):
        assert Home.open(checkpoint).pointer().current == "v3"
        assert len(home.versions()) == 3
    assert Home.open(home.path).pointer().previous == "v2"
    assert (home.folder("v1") / "weights").read_text() == "{}"
    home.activate("v2")
    home.prune(1)
    assert Home.open(checkpoint).pointer().current == "v2"


def test_folders_that_are_no_home_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist; give the folder that `temporec fit --out DIR` wrote"):
        Home.open(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is neither the home of a service nor a fitted model"):
        Home.open(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match=r"current\.json cannot be read"):
        Home(tmp_path).pointer()


def test_activate_try_and_roll_back(checkpoint: Path) -> None:
    home = Home.open(checkpoint)
    with pytest.raises(ConfigError, match=r"no version came before 'v1'; activate one by name"):
        home.rollback()
    assert [add(home, "v1", 10), add(home, "v2", 20)] == ["v2", "v3"]
    home.activate("v2")
    trial = home.activate("v3", control="v2", share=0.2)
    assert home.pointer() == trial
    assert (trial.current, trial.previous, trial.control, trial.share, trial.serial) == ("v3", "v2", "v2", 0.2, 3)
    whole = home.activate("v3")
    assert (whole.previous, whole.control, whole.share) == ("v2", None, 0.0)
    for expected in (("v2", "v1", None, 0.0, 5), ("v1", None, None, 0.0, 6)):
        back = home.rollback()
        assert (back.current, back.previous, back.control, back.share, back.serial) == expected
    assert [(v.name, v.log_offset, v.parent, v.is_current) for v in home.versions()] == [
        ("v1", 0, None, True), ("v2", 10, "v1", False), ("v3", 20, "v2", False),
    ]  # fmt: skip
    assert home.versions()[1].metrics == {"ndcg@10": 0.25}
    for share, control in ((1.1, "v1"), (-0.1, "v1"), (float("nan"), "v1"), (0.5, None)):
        with pytest.raises(ConfigError, match="give a share within 0 and 1, and its control"):
            home.activate("v2", control=control, share=share)
    assert home.pointer().serial == 6


@pytest.mark.parametrize("name", ["v9", "", ".", "..", "../shop", "v1/../v1", "/etc", "v1\n", ".v1", "v1\x00", "V1 "])
def test_names_lead_nowhere_else(checkpoint: Path, name: str) -> None:
    home = Home.open(checkpoint)
    for call in (home.folder, home.activate, lambda name: home.activate("v1", control=name, share=0.1)):
        with pytest.raises(UnknownNameError, match=r"no version named .*; known: v1"):
            call(name)
    assert home.pointer().serial == 1


def test_a_version_is_whole_or_absent(checkpoint: Path) -> None:
    home = Home.open(checkpoint)

    def broken(folder: Path) -> None:
        write(folder)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        home.add(broken, parent="v1", log_offset=1, metrics={})
    with pytest.raises(CheckpointError, match=r"v2 has no manifest\.json; save a recommender into it"):
        home.add(lambda folder: None, parent="v1", log_offset=1, metrics={})
    with pytest.raises(CheckpointError, match="cannot write"):
        home.add(lambda folder: (folder / "no" / "such").touch(), parent="v1", log_offset=1, metrics={})
    assert os.listdir(home.path / "versions") == ["v1"]
    assert add(home) == "v2"


def test_prune_keeps_the_newest_and_what_the_pointer_names(checkpoint: Path) -> None:
    home = Home.open(checkpoint)
    for _ in range(11):
        add(home)
    home.activate("v3")
    home.activate("v5", control="v4", share=0.5)
    assert home.prune(2) == ["v1", "v2", "v6", "v7", "v8", "v9", "v10"]
    assert [version.name for version in home.versions()] == ["v3", "v4", "v5", "v11", "v12"]
    assert sorted(os.listdir(home.path / "versions")) == ["v11", "v12", "v3", "v4", "v5"]
    assert home.prune(0) == ["v11"]
    assert add(home) == "v13"
    home.activate("v13")
    home.prune(1)
    assert home.rollback().previous is None


def test_from_where_a_learner_may_have_to_read(checkpoint: Path) -> None:
    home = Home.open(checkpoint)
    assert home.learned() is None
    home.reports_path.write_text("[]")
    assert home.learned() == 0
    add(home, "v1", 10)
    add(home, "v1", 20)
    assert home.learned() == 20
    home.activate("v3", control="v1", share=0.1)
    assert home.learned() == 0  # a rollback leads to v1
    add(home, "v3", 30)
    home.activate("v4")
    assert home.learned() == 20
    assert [info.name for info in home.pointed()] == ["v3", "v4"]
    assert home.seen() == 30


def snapshot(home: Home, name: str, offset: int) -> None:
    (home.snapshot_path / name).mkdir(parents=True)
    (home.snapshot_path / name / "live.json").write_text(json.dumps({"offset": offset}))


def test_what_a_version_holds_and_what_all_have_seen(checkpoint: Path, tmp_path: Path) -> None:
    home = Home.open(checkpoint)
    add(home, "v1", 10)
    snapshot(home, "v1", 5)
    snapshot(home, "v2", 7)
    assert [home.held(info) for info in home.versions()] == [5, 10]
    snapshot(home, ".v1.old-7", 12)
    assert home.seen() == 12
    with open_event_log(tmp_path / "new.db") as log:
        home.check_log(log)
        assert log.end() == 12
        home.check_log(log)
    add(home, "v2", 13)
    with open_event_log(tmp_path / "new.db") as log, pytest.raises(StoreError, match=r"ends at offset 12.* up to 13"):
        home.check_log(log)


def test_a_full_disk_changes_nothing(checkpoint: Path, small_disk: Path) -> None:
    os.replace(checkpoint, checkpoint.with_name("other"))
    checkpoint = small_disk / "shop"
    checkpoint.mkdir()
    (checkpoint / "manifest.json").write_text("{}")
    home = Home.open(checkpoint)
    add(home)
    pointer = home.pointer()

    def too_much(folder: Path) -> None:
        (folder / "manifest.json").write_bytes(bytes(10**6))

    with pytest.raises(CheckpointError, match="No space left"):
        home.add(too_much, parent=None, log_offset=0, metrics={})
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(10**6))
    with pytest.raises(StoreError, match="No space left on device; look for free space"):
        home.activate("v2")
    assert home.pointer() == pointer
    (small_disk / "filler").unlink()
    assert home.activate("v2").current == "v2"


def test_two_processes_open_and_add_at_once(checkpoint: Path) -> None:
    code = (
        "import sys; from temporec.store.versions import Home; home = Home.open(sys.argv[1])\n"
        "for _ in range(5):\n"
        "    name = home.add(lambda f: (f / 'manifest.json').write_text('{}'), parent=None, log_offset=0, metrics={})\n"
        "    home.activate(name)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(checkpoint)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    home = Home.open(checkpoint)
    assert [version.name for version in home.versions()] == [f"v{number}" for number in range(1, 17)]
    assert home.pointer().serial == 16


def killed(checkpoint: Path, rounds: int) -> int:
    """Kill and check; the serial of the pointer afterwards."""
    draw, serial = random.Random(rounds), 1
    for _ in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-c", SWAPPER, str(checkpoint)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            time.sleep(draw.uniform(0.0, 0.3))
            process.kill()
            said += process.stdout.read().split("\n")[:-1]
        home = Home.open(checkpoint)
        pointer = home.pointer()
        swaps = [line.split() for line in said if line.startswith("active")]
        expected = int(swaps[-1][1]) if swaps else serial
        assert pointer.serial in (expected, expected + 1)
        assert all(pointer.current == swap[2] for swap in swaps if int(swap[1]) == pointer.serial)
        serial = pointer.serial
        for version in home.versions():
            folder = home.folder(version.name)
            assert (folder / "manifest.json").is_file()
            if version.name != "v1":
                assert {path.stat().st_size for path in folder.iterdir()} >= {100_002}
                assert len(list(folder.iterdir())) == 4
        assert json.loads((home.path / "current.json").read_text())["control"] in (None, "v1")
    return serial


def test_a_killed_swap(checkpoint: Path) -> None:
    assert killed(checkpoint, 2) > 1


@pytest.mark.slow
def test_thirty_killed_swaps(checkpoint: Path) -> None:
    assert killed(checkpoint, 30) > 1
