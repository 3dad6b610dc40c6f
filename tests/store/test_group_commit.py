"""Many callers, one writer: groups that wait together share a commit, and nobody waits without end."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from temporec.errors import DataError, EventConflictError, StoreBusyError, StoreError, TemporecError
from temporec.store.events import open_event_log
from temporec.store.group_commit import GroupCommit
from temporec.store.records import Record
from temporec.store.sqlite import SqliteLog


def item(number: int, **body: object) -> Record:
    return Record(f"i{number}", "items", {"number": number, **body})


class SlowLog(SqliteLog):
    """Waits before each commit until `gate` is open, and notes how many groups each had."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate, self.begun = threading.Event(), threading.Semaphore(0)
        self.commits: list[int] = []

    def append_groups(self, groups: Sequence[Sequence[Record]]) -> list[list[Record] | TemporecError]:
        self.commits.append(len(groups))
        self.begun.release()
        assert self.gate.wait(30)
        return super().append_groups(groups)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowLog]:
    with SlowLog(tmp_path / "events.db") as log:
        yield log


def test_what_waits_together_is_committed_together(slow: SlowLog) -> None:
    commit = GroupCommit(slow, waiting=4, together=3)
    first = commit.submit([item(0)])
    assert slow.begun.acquire(timeout=30)
    rest = [commit.submit([item(number)]) for number in range(1, 5)]
    assert commit.waiting == 4
    with pytest.raises(StoreBusyError, match="4 groups of events wait already; try again later"):
        commit.submit([item(9)])
    assert not first.done()
    rest[1].cancel()
    slow.gate.set()
    commit.close()
    assert [future.result()[0].id for future in (first, *rest[:1], *rest[2:])] == ["i0", "i1", "i3", "i4"]
    assert slow.commits == [1, 2, 1]
    assert [record.id for record in slow.read()] == ["i0", "i1", "i3", "i4"]


def test_each_group_gets_its_own_answer(tmp_path: Path) -> None:
    with open_event_log(tmp_path / "events.db") as log:
        commit = GroupCommit(log)
        good, twice, other, bad = (
            commit.submit([record]) for record in (item(1), item(1), item(1, new=2), item(2, new=float("nan")))
        )
        assert good.result() == twice.result() == log.read()
        with pytest.raises(EventConflictError):
            other.result()
        with pytest.raises(DataError):
            bad.result()
        commit.close()
        commit.close()
        with pytest.raises(StoreError, match="is being closed"):
            commit.submit([item(3)])


def test_a_log_that_fails_fails_its_groups_and_the_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_event_log(tmp_path / "events.db") as log:
        commit = GroupCommit(log)
        with monkeypatch.context() as patch:
            patch.setattr(type(log), "append_groups", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                commit.submit([item(1)]).result()
        assert commit.submit([item(1)]).result() == log.read()
        commit.close()


def test_many_threads(new_url: Callable[[], str | Path]) -> None:
    answers: list[int] = []
    with open_event_log(new_url()) as log:
        commit = GroupCommit(log)

        def send(thread: int) -> None:
            for number in range(25):
                answers.append(commit.submit([item(100 * thread + number)]).result()[0].offset)

        threads = [threading.Thread(target=send, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        commit.close()
        assert sorted(answers) == [record.offset for record in log.read()]
        assert len(set(answers)) == 200
