"""The replay buffer."""

from pathlib import Path

import numpy as np

from temporec.online.replay import Piece, Replay, ReplayConfig, log_of


def piece(number: int, owner: str = "") -> Piece:
    items = np.asarray([number, number + 1], np.int32)
    return Piece(owner or f"u{number}", items, np.asarray([5, 6], np.int64), 2)


def numbers(replay: Replay) -> list[int]:
    return sorted(int(each.items[0]) for each in replay.draw(10**6))


def test_the_newest_stay_and_the_rest_is_a_uniform_sample() -> None:
    counts = np.zeros(1_000)
    for seed in range(60):
        replay = Replay(ReplayConfig(capacity=100, newest=0.4), seed)
        replay.add([piece(number) for number in range(1_000)])
        kept = numbers(replay)
        assert len(kept) == len(replay) == 100
        assert set(range(960, 1_000)) <= set(kept)
        counts[kept] += 1
    early, late = counts[:480].mean(), counts[480:960].mean()
    expected = 60 * 60 / 960
    assert abs(early - expected) < 0.5
    assert abs(late - expected) < 0.5


def test_draws_are_different_pieces() -> None:
    replay = Replay(ReplayConfig(capacity=50, newest=0.5))
    replay.add([piece(number) for number in range(200)])
    drawn = [int(each.items[0]) for each in replay.draw(30)]
    assert len(set(drawn)) == 30
    assert drawn != [int(each.items[0]) for each in replay.draw(30)]


def test_a_forgotten_user_leaves_both_parts() -> None:
    replay = Replay(ReplayConfig(capacity=100, newest=0.2))
    replay.add([piece(number, "gone" if number % 2 else "here") for number in range(100)])
    assert replay.forget({"gone"}) == 50
    assert {each.owner for each in replay.draw(1_000)} == {"here"}


def test_a_file_brings_everything_back(tmp_path: Path) -> None:
    config = ReplayConfig(capacity=20, newest=0.3)
    replay = Replay(config)
    replay.add([piece(number) for number in range(100)])
    marks = (np.asarray([0, 1], np.int16), np.asarray([0.5, 2.0], np.float32))
    replay.add([Piece("x", np.asarray([7, 8], np.int32), np.asarray([1, 2], np.int64), 1, *marks)])
    replay.save(tmp_path / "replay.parquet")
    again = Replay.load(tmp_path / "replay.parquet", config)
    assert numbers(again) == numbers(replay)
    (old,) = [each for each in again.draw(100) if each.owner == "x"]
    assert old.fresh == 1
    assert old.kinds is not None
    assert old.values is not None
    assert old.kinds.tolist() == [0, 1]
    assert old.values.tolist() == [0.5, 2.0]
    before = len(again)
    again.add([piece(number) for number in range(100, 200)])
    assert len(again) == before


def test_without_room_nothing_is_kept() -> None:
    replay = Replay(ReplayConfig(capacity=0))
    replay.add([piece(1)])
    assert len(replay) == 0
    assert replay.draw(5) == []


def test_pieces_are_users_of_a_log() -> None:
    log = log_of([piece(1), piece(5)])
    assert log.user.tolist() == [0, 0, 1, 1]
    assert log.item.tolist() == [1, 2, 5, 6]
