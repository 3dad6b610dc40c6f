"""What every event log promises, over SQLite, PostgreSQL and Redis."""

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporec.errors import DataError, EventConflictError, StoreError, TemporecError
from temporec.store.events import EventLog, open_event_log
from temporec.store.records import Record


def event(number: int, user: str | int = "ann", **more: Any) -> Record:
    return Record(f"e{number}", "events", {"user": user, "item": f"i{number}", "time": number, **more}, user)


def test_records_come_back_in_order_and_outlive_the_log(log: EventLog, url: str | Path) -> None:
    assert (log.begin(), log.end(), log.read()) == (1, 0, [])
    first = log.append([event(1), event(2, 7)])
    item = Record("new", "items", {"action": "put", "item": "i1", "title": "红色的杯子 😀 \x00 \ud800"})
    second = log.append([item])
    offsets = [record.offset for record in first + second]
    assert offsets == sorted(set(offsets))
    assert offsets[0] > 0
    assert (log.begin(), log.end()) == (offsets[0], offsets[-1])
    with open_event_log(url) as again:
        assert again.read() == first + second
        assert again.read(after=offsets[0]) == [*first[1:], *second]
        assert again.read(limit=1) == first[:1]
        assert again.read(topics={"items", "feedback"}) == second
        assert again.read(topics={"forget"}) == []
        assert again.read_user(7) == first[1:]
        assert again.read_user("7") == []


def test_a_repetition_is_stored_once_and_another_content_is_refused(log: EventLog) -> None:
    (stored,) = log.append([event(1)])
    assert log.append([event(1), event(2), event(2)])[0] == stored
    assert [record.id for record in log.read()] == ["e1", "e2"]
    others = (
        event(1, value=2),
        event(1, "bob"),
        Record("e1", "feedback", event(1).body, "ann"),
        Record("e1", "events", event(1).body, "bob"),
    )
    for other in others:
        with pytest.raises(EventConflictError, match=f"'e1' is stored already, .* \\(offset {stored.offset}\\)"):
            log.append([event(3), other])
    with pytest.raises(EventConflictError, match="'e4'"):
        log.append([event(4), event(4, value=1)])
    assert [record.id for record in log.read()] == ["e1", "e2"]


def test_what_is_no_record_is_refused() -> None:
    for record_id in ("", "a\nb", "a\x00", "a\ud800", "x" * 513, 7):
        with pytest.raises(DataError, match="is no text of 1 to 512 printable characters"):
            Record(record_id, "events", {})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="allowed: events, items, feedback, forget"):
        Record("a", "clicks", {})  # type: ignore[arg-type]
    for user in (True, 1.5, ("a",)):
        with pytest.raises(DataError, match="a user is a text or a whole number"):
            Record("a", "events", {}, user)  # type: ignore[arg-type]


def test_one_bad_group_does_not_harm_the_others(log: EventLog) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    bad = [Record("bad", "events", body) for body in ({"value": float("nan")}, {"value": {1, 2}}, deep)]
    groups = [[event(1)], [event(2), bad[0]], [event(2)], [event(1, value=1)], [], [bad[1]], [bad[2]], [event(3)]]
    answers = log.append_groups(groups)
    assert [type(answer) for answer in answers] == [
        list, DataError, list, EventConflictError, list, DataError, DataError, list,
    ]  # fmt: skip
    assert log.read() == [answers[0][0], answers[2][0], answers[7][0]]  # type: ignore[index]
    assert [record.id for record in log.read()] == ["e1", "e2", "e3"]
    with pytest.raises(DataError, match="the body of record 'bad' is no JSON"):
        log.append([bad[0]])
    assert log.append([]) == []


def test_forget_leaves_a_hash(log: EventLog) -> None:
    log.append([event(1), event(2, "bob"), Record("f", "feedback", {"item": "i1"}, "ann"), Record("i", "items", {})])
    last = log.end()
    assert log.forget("ann") == 2
    assert log.read_user("ann") == []
    *rest, mark = log.read()
    assert [record.id for record in rest] == ["e2", "i"]
    assert mark.topic == "forget"
    assert mark.body == {"user_hash": hashlib.sha256(b'"ann"').hexdigest()}
    assert (mark.offset, mark.user) == (last + 1, None)
    assert log.end() == mark.offset
    assert log.forget("ann") == 0
    assert len(log.append([event(1), event(9)])) == 2
    assert [record.id for record in log.read_user("ann")] == ["e1", "e9"]
    assert log.read_user("ann")[0].offset > mark.offset


def test_trim_and_offsets_are_never_given_twice(log: EventLog) -> None:
    stored = log.append([event(number) for number in range(2500)])
    assert log.trim(stored[2000].offset) == 2000
    assert log.begin() == stored[2000].offset
    assert log.read_user("ann") == stored[2000:]
    assert [record.offset for record in log.read_all()] == [record.offset for record in stored[2000:]]
    assert log.trim(log.end() + 1) == 500
    assert (log.begin(), log.end()) == (stored[-1].offset + 1, stored[-1].offset)
    assert log.append([event(1)])[0].offset == stored[-1].offset + 1


def test_trim_keeps_some_topics(log: EventLog) -> None:
    for number in range(1200):
        log.append([event(number, f"u{number % 5}"), Record(f"i{number}", "items", {"item": number})])
    log.forget("u0")
    assert log.trim(log.end(), keep=("forget", "items")) == 960
    assert {record.topic for record in log.read_all()} == {"items", "forget"}
    assert len(list(log.read_all())) == 1201
    assert log.read_user("u1") == []
    again = log.append([event(1, "u1"), Record("i7", "items", {"item": 7})])
    assert [record.offset for record in again] == [2402, 16]
    assert log.read_user("u1") == again[:1]
    assert log.trim(log.end() + 1) == 1202


def test_the_offset_of_a_moment(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log.offset_at(0) == 1
    moment = [0]
    for module in ("sql", "redis_streams"):
        monkeypatch.setattr(f"temporec.store.{module}.now", lambda: moment[0])
    for number in range(20):
        moment[0] = 1000 * (number // 2)
        log.append([event(number)])
    log.trim(5)
    log.append([event(99, "bob")])
    log.forget("bob")
    stored = {record.offset: record.stored for record in log.read()}
    for time in range(0, 11_000, 500):
        later = [offset for offset, at in stored.items() if at >= time]
        found = log.offset_at(time)
        assert [offset for offset in stored if offset >= found] == later


def test_threads_and_processes_share_a_log(log: EventLog, url: str | Path) -> None:
    """Readers that follow the log see every record once, in order, while several write."""
    seen: list[int] = []
    written = threading.Event()

    def write(thread: int, own: EventLog) -> None:
        for number in range(20):
            own.append([event(1000 * thread + number), event(number, "shared")])

    def follow(own: EventLog) -> None:
        done = False
        while not done:
            done = written.is_set()
            seen.extend(record.offset for record in own.read_all(seen[-1] if seen else 0))

    with open_event_log(url) as second, open_event_log(url) as third:
        writers = [threading.Thread(target=write, args=(1 + i, own)) for i, own in enumerate((log, log, second))]
        reader = threading.Thread(target=follow, args=(third,))
        for thread in (*writers, reader):
            thread.start()
        for thread in writers:
            thread.join()
        written.set()
        reader.join()
    assert seen == [record.offset for record in log.read()]
    assert len(seen) == 3 * 20 + 20


def test_a_closed_log_says_so(url: str | Path) -> None:
    log = open_event_log(url)
    log.close()
    for call in (log.end, log.read, lambda: log.append([event(1)]), lambda: log.forget("ann"), lambda: log.trim(1)):
        with pytest.raises(StoreError, match="is closed; open it again"):
            call()


BODIES = st.sampled_from([{"item": "a"}, {"item": "b"}, {"item": "a", "value": 1.5}, {"value": float("inf")}])
RECORDS = st.builds(
    Record, st.sampled_from("abcdef"), st.sampled_from(["events", "items"]), BODIES, st.sampled_from([None, "u", 1])
)
GROUPS = st.lists(st.lists(st.lists(RECORDS, max_size=4), max_size=4), max_size=6)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(commits=GROUPS)
def test_all_or_nothing_and_once(log: EventLog, commits: list[list[list[Record]]]) -> None:
    """Against a dictionary: a group is stored whole or not at all, and no id is stored twice."""
    known: dict[str, Record] = {}
    log.trim(log.end() + 1)
    for groups in commits:
        for group, answer in zip(groups, log.append_groups(groups), strict=True):
            after = {**{record.id: record for record in reversed(group)}, **known}
            if any(record.body.get("value") == float("inf") for record in group):
                assert isinstance(answer, DataError)
            elif any(replace(after[record.id], offset=0) != record for record in group):
                assert isinstance(answer, EventConflictError)
            else:
                assert not isinstance(answer, TemporecError)
                placed = {record.id: record for record in answer}
                assert [replace(record, offset=0) for record in answer] == group
                assert all(placed[name] == record for name, record in known.items() if name in placed)
                known |= placed
    stored = log.read()
    assert stored == sorted(known.values(), key=lambda record: record.offset)
    assert len({record.offset for record in stored}) == len(stored)
    for user in ("u", 1):
        assert log.read_user(user) == [record for record in stored if record.user == user]
