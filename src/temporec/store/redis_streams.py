"""The event log in Redis: one stream, a hash that finds an id, and a list of offsets per user.

Redis keeps all records in memory. They survive a crash only with `appendonly yes` and `appendfsync always`, and with a
`maxmemory-policy` that never evicts: opening refuses other settings, and warns where the server does not tell.
Deleted records leave the append-only file when Redis rewrites it (`BGREWRITEAOF`).

Every verb that writes is one Lua script, which Redis runs, and keeps in its file, as a whole.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis

from temporec.errors import DataError, StoreError, TemporecError
from temporec.store.events import EventLog, conflict, forget_record, now, placed
from temporec.store.records import Record, Row, Topic, record_of, rows_of, rows_or_error, user_key

__all__ = ["RedisLog"]

_log = logging.getLogger(__name__)

SCHEMA = 1
PAGE = 1000
STREAM = "temporec:events"
DURABLE = {"appendonly": "yes", "appendfsync": "always"}
PATIENCE = 10  # seconds to reach the server, and to wait for an answer
HEAD = """
local stream, prefix = KEYS[1], '{' .. KEYS[1] .. '}:'
local ids, last = prefix .. 'ids', prefix .. 'last'
local function fields(offset)
    local entry = redis.call('XRANGE', stream, offset .. '-0', offset .. '-0')[1]
    return entry and entry[2]
end
local function add(offset, id, topic, user, body, stored)
    redis.call('XADD', stream, offset .. '-0', 'id', id, 'topic', topic, 'user', user, 'body', body, 'stored', stored)
    redis.call('HSET', ids, id, offset)
    if user ~= '' then redis.call('RPUSH', prefix .. 'user:' .. user, offset) end
end
"""
# ARGV: the time, then per group the number of its records, and of each record id, topic, user and body.
# The answer has a list of offsets per group, or minus the place of the record that is in conflict, and its offset.
APPEND = """
local first = tonumber(redis.call('GET', last) or '0')
local top, at, answers, fresh, mine = first, 2, {}, {}, {}
while at <= #ARGV do
    local count, offsets, new, before = tonumber(ARGV[at]), {}, {}, top
    for i = 1, count do
        local place = at + 4 * i - 3
        local id = ARGV[place]
        local content = mine[id] or new[id]
        local offset = content and content.offset or tonumber(redis.call('HGET', ids, id) or '0')
        local same = true
        if content then
            for j = 1, 3 do same = same and content[j] == ARGV[place + j] end
        elseif offset > 0 then
            local known = fields(offset)
            for j = 1, 3 do same = same and known[2 * j + 2] == ARGV[place + j] end
        else
            top = top + 1
            offset = top
            new[id] = {ARGV[place + 1], ARGV[place + 2], ARGV[place + 3], offset = offset}
        end
        if not same then
            offsets, new, top = {-i, offset}, {}, before
            break
        end
        offsets[i] = offset
    end
    for id, content in pairs(new) do
        mine[id] = content
        fresh[content.offset - first] = id
    end
    answers[#answers + 1] = offsets
    at = at + 4 * count + 1
end
if #fresh > 0 then
    for i, id in ipairs(fresh) do
        add(first + i, id, mine[id][1], mine[id][2], mine[id][3], ARGV[1])
    end
    redis.call('SET', last, top)
end
return answers
"""
# ARGV: the user, and time, id, topic and body of the record that stays.
FORGET = """
local key, gone = prefix .. 'user:' .. ARGV[1], 0
for _, offset in ipairs(redis.call('LRANGE', key, 0, -1)) do
    redis.call('HDEL', ids, fields(offset)[2])
    gone = gone + redis.call('XDEL', stream, offset .. '-0')
end
redis.call('DEL', key)
add(redis.call('INCR', last), ARGV[3], ARGV[4], '', ARGV[5], ARGV[2])
return gone
"""
# ARGV: the offsets after and before which records go, how many are looked at, and the topics that stay.
# The answer is how many went, and the last one that was looked at; nothing where there was none.
TRIM = """
local entries = redis.call('XRANGE', stream, '(' .. ARGV[1] .. '-0', '(' .. ARGV[2] .. '-0', 'COUNT', ARGV[3])
local kept, gone = {}, 0
for at = 4, #ARGV do kept[ARGV[at]] = true end
for _, entry in ipairs(entries) do
    if not kept[entry[2][4]] then
        redis.call('HDEL', ids, entry[2][2])
        if entry[2][6] ~= '' then
            redis.call('LREM', prefix .. 'user:' .. entry[2][6], 1, string.match(entry[1], '%d+'))
        end
        gone = gone + redis.call('XDEL', stream, entry[1])
    end
end
return #entries > 0 and {gone, tonumber(string.match(entries[#entries][1], '%d+'))} or {}
"""
# ARGV: of each record offset, time, id, topic, user and body.
LOAD = """
for at = 1, #ARGV, 6 do
    add(ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 1])
end
"""


class RedisLog(EventLog):
    """A log in one stream of a Redis server; see the module for what the server must be set to.

    Where the connection breaks in the middle of a write, the records may be there or not: send them again, unchanged.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        self.stream = options.pop("stream", STREAM)
        self._place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._base: Any = redis.Redis.from_url(
            parts._replace(query=urlencode(options)).geturl(),
            decode_responses=True,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
        )
        self._scripts = {
            name: self._base.register_script(HEAD + text)
            for name, text in (("append", APPEND), ("forget", FORGET), ("trim", TRIM), ("load", LOAD))
        }
        self._closed = False
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return f"the event log {self.stream!r} at {self._place}"

    def _check(self) -> None:
        """Refuse a server that may lose what it acknowledges, and a log that is newer or half restored."""
        with self._said("open"):
            try:
                told = self._base.config_get("appendonly", "appendfsync", "maxmemory-policy")
            except redis.ResponseError:  # hosted servers hide their settings
                _log.warning("%s does not tell its settings; it may lose events without appendfsync always", self)
                told = {}
            version = self._base.set(self._key("schema"), SCHEMA, nx=True, get=True)
            restoring = self._base.exists(self._key("restoring"))
        wrong = [f"{name} {told[name]}" for name, value in DURABLE.items() if told.get(name, value) != value]
        if (policy := told.get("maxmemory-policy", "")).startswith("allkeys"):
            wrong.append(f"maxmemory-policy {policy}")
        if wrong:
            raise StoreError(
                f"{self} may lose events: the server runs with {', '.join(wrong)}; "
                "set appendonly yes, appendfsync always and maxmemory-policy noeviction"
            )
        if int(version or SCHEMA) > SCHEMA:
            raise StoreError(f"{self} has schema {version}; this version reads up to {SCHEMA}. Update Temporec.")
        if restoring:
            raise StoreError(f"{self} is being restored, or that broke off; restore it into another stream")

    def _key(self, name: str) -> str:
        return f"{{{self.stream}}}:{name}"

    @contextmanager
    def _said(self, verb: str) -> Iterator[None]:
        """The server's errors as ours."""
        if self._closed:
            raise StoreError(f"{self} is closed; open it again")
        try:
            yield
        except redis.RedisError as error:
            said = " ".join(str(error).split())[:300]
            raise StoreError(f"cannot {verb} {self}: {said}; look at the server, then try again") from None

    def _run(self, script: str, *values: str | int) -> Any:
        with self._said(script):
            return self._scripts[script](keys=[self.stream], args=values)

    def append_groups(self, groups: Sequence[Sequence[Record]]) -> list[list[Record] | TemporecError]:
        made = [rows_or_error(group) for group in groups]
        words: list[str | int] = []
        for rows in made:
            words += [len(rows), *_words(rows)] if isinstance(rows, list) else []
        found: Iterator[list[int]] = iter(self._run("append", now(), *words) if any(words) else [[]] * len(words))
        answers: list[list[Record] | TemporecError] = []
        for group, rows in zip(groups, made, strict=True):
            if isinstance(rows, DataError):
                answers.append(rows)
                continue
            offsets = next(found)
            if offsets and offsets[0] < 0:
                answers.append(conflict(group[-offsets[0] - 1].id, offsets[1]))
            else:
                answers.append(placed(group, offsets))
        return answers

    def read(self, after: int = 0, limit: int = 1000, topics: Collection[Topic] | None = None) -> list[Record]:
        found: list[Record] = []
        while len(found) < limit:
            with self._said("read"):
                entries = self._base.xrange(self.stream, f"({after}-0", "+", max(limit, PAGE) if topics else limit)
            page = [_record(*entry) for entry in entries]
            found += [record for record in page if topics is None or record.topic in topics]
            if topics is None or not page:
                break
            after = page[-1].offset
        return found[:limit]

    def read_user(self, user: str | int) -> list[Record]:
        with self._said("read"):
            offsets = self._base.lrange(self._key(f"user:{user_key(user)}"), 0, -1)
            with self._base.pipeline(transaction=False) as pipe:
                for offset in offsets:
                    pipe.xrange(self.stream, f"{offset}-0", f"{offset}-0")
                return [_record(*entry) for entries in pipe.execute() for entry in entries]

    def forget(self, user: str | int) -> int:
        (mark,) = rows_of([forget_record(user)])
        return int(self._run("forget", user_key(user), now(), mark.id, mark.topic, mark.body))

    def begin(self) -> int:
        first = self.read(limit=1)
        return first[0].offset if first else self.end() + 1

    def end(self) -> int:
        with self._said("read"):
            return int(self._base.get(self._key("last")) or 0)

    def trim(self, before: int, keep: Collection[Topic] = ()) -> int:
        gone = after = 0
        while found := self._run("trim", after, before, PAGE, *keep):
            gone, after = gone + found[0], found[1]
        return gone

    def load(self, records: Iterator[Record], end: int) -> int:
        if last := self.end():
            raise StoreError(f"{self} holds records up to offset {last}; restore into a new stream")
        count, restoring = 0, self._key("restoring")
        with self._said("load"):
            self._base.set(restoring, 1)
        while page := list(islice(records, PAGE)):
            words: list[str | int] = []
            for record, row in zip(page, rows_of(page), strict=True):
                words += [record.offset, record.stored, *_words([row])]
            self._run("load", *words)
            count += len(page)
        with self._said("load"), self._base.pipeline() as pipe:
            pipe.set(self._key("last"), end).delete(restoring).execute()
        return count

    def close(self) -> None:
        self._closed = True
        self._base.close()


def _words(rows: list[Row]) -> Iterator[str]:
    """What the scripts take of each row."""
    return (word or "" for row in rows for word in (row.id, row.topic, row.user, row.body))


def _record(entry: str, fields: dict[str, str]) -> Record:
    row = Row(fields["id"], fields["topic"], fields["user"] or None, fields["body"])
    return record_of(int(entry.partition("-")[0]), int(fields["stored"]), row)
