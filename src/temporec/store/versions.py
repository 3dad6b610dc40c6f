"""The folder of one service: model versions that never change, and an atomic pointer to the current one."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from temporec.durable import file_hash, fsync, fsync_folder, write_atomic, writing
from temporec.errors import CheckpointError, ConfigError, StoreError, UnknownNameError
from temporec.store.events import EventLog, now

__all__ = ["Home", "Pointer", "VersionInfo"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
INFO = "version.json"


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which version answers; a `share` of the users, by hash of the id, is still answered by `control`."""

    current: str
    previous: str | None
    control: str | None
    share: float
    since: int  # milliseconds since 1970, UTC
    serial: int  # grows with every change


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """What is known about a version."""

    name: str
    created: int  # milliseconds since 1970, UTC
    log_offset: int  # the last record that it has learnt from
    parent: str | None
    metrics: dict[str, Any]
    is_current: bool


class Home:
    """`versions/NAME/`, `current.json`, `events.db`, `snapshot/`, `tokens.json`, `learning.json` in one folder.

    Several processes may use one home: changes take a lock that dies with its process.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.events_path = self.path / "events.db"
        self.snapshot_path = self.path / "snapshot"
        self.tokens_path = self.path / "tokens.json"
        self.reports_path = self.path / "learning.json"
        self._pointer_path = self.path / "current.json"
        self._versions_path = self.path / "versions"

    @classmethod
    def open(cls, folder: str | Path) -> "Home":
        """The home at a folder; for a checkpoint, the home `FOLDER.service` beside it, made if absent.

        A checkpoint that was fitted anew since becomes a new version, and the current one.

        Raises:
            CheckpointError: the folder is neither, or the model cannot be copied.
            StoreError: the home cannot be made.
        """
        folder = Path(folder)
        if (home := cls(folder))._pointer_path.is_file():
            return home
        if not (manifest := folder / "manifest.json").is_file():
            what = "is neither the home of a service nor a fitted model" if folder.exists() else "does not exist"
            raise CheckpointError(f"{folder} {what}; give the folder that `temporec fit --out DIR` wrote")
        home = cls(folder.resolve().with_name(f"{folder.resolve().name}.service"))
        source, known = file_hash(manifest), home.path / "source"
        with home.locked("open"):
            if not home._pointer_path.is_file() or not known.is_file() or known.read_text(encoding="utf-8") != source:
                home.activate(home.add(lambda to: _copy(folder, to), parent=None, log_offset=0, metrics={}))
                write_atomic(known, source)
        return home

    def versions(self) -> list[VersionInfo]:
        """All versions, the oldest first."""
        current = self.pointer().current
        return [self._info(name, current) for name in self._names()]

    def add(
        self, write: Callable[[Path], None], *, parent: str | None, log_offset: int, metrics: dict[str, Any]
    ) -> str:
        """The name of a new version, which `write` puts into the empty folder that it gets; all or nothing.

        Raises:
            CheckpointError: it cannot be written, or `write` left no complete model.
        """
        with self.locked("versions"):
            for left in self._versions_path.glob(".*"):  # by a process that was killed
                shutil.rmtree(left)
            name = f"v{max((_number(name) for name in self._names()), default=0) + 1}"
            target, part = self._versions_path / name, self._versions_path / f".{name}"
            with writing(target, part):
                part.mkdir()
                write(part)
                if not (part / "manifest.json").is_file():
                    raise CheckpointError(f"the new version {name} has no manifest.json; save a recommender into it")
                info = {"created": now(), "log_offset": log_offset, "parent": parent, "metrics": metrics}
                (part / INFO).write_text(json.dumps(info, indent=2), encoding="utf-8")
                fsync_folder(part)
                part.replace(target)
                fsync(self._versions_path)
        return name

    def folder(self, name: str) -> Path:
        """The folder of a version.

        Raises:
            UnknownNameError: there is no version of this name.
        """
        path = self._versions_path / name
        if not NAME.fullmatch(name) or not (path / INFO).is_file():
            raise UnknownNameError(f"no version named {name!r:.80}; known: {', '.join(self._names()) or 'none'}")
        return path

    def pointer(self) -> Pointer:
        """Which version answers now."""
        try:
            return Pointer(**json.loads(self._pointer_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f"{self._pointer_path} cannot be read ({error!s:.200}); restore it from a backup, or give a version "
                "again: temporec models activate"
            ) from None

    def activate(self, name: str, *, control: str | None = None, share: float = 0.0) -> Pointer:
        """Make a version the current one; while it is on trial, `control` still answers a share of the users.

        Raises:
            UnknownNameError: there is no version of this name.
            ConfigError: the share is not within 0 and 1, or has no control.
        """
        if not 0.0 <= share <= 1.0 or (share > 0.0 and control is None):
            raise ConfigError(f"share={share!r} with control={control!r}: give a share within 0 and 1, and its control")
        with self.locked("pointer"):
            for version in (name, control):
                if version is not None:
                    self.folder(version)
            old = self.pointer() if self._pointer_path.is_file() else Pointer(name, None, None, 0.0, 0, 0)
            previous = old.previous if old.current == name else old.current
            return self._point(Pointer(name, previous, control, share, now(), old.serial + 1))

    def rollback(self) -> Pointer:
        """Make the version before the current one current again; before that one stands its parent.

        Raises:
            ConfigError: there is no version before the current one.
        """
        with self.locked("pointer"):
            old = self.pointer()
            if old.previous is None:
                raise ConfigError(f"no version came before {old.current!r}; activate one by name")
            self.folder(old.previous)
            parent = self._info(old.previous, None).parent
            known = parent if parent in self._names() else None
            return self._point(Pointer(old.previous, known, None, 0.0, now(), old.serial + 1))

    def pointed(self) -> list[VersionInfo]:
        """The versions that the pointer names: they answer, or a rollback leads to them."""
        pointer = self.pointer()
        names = {pointer.current, pointer.previous, pointer.control}
        return [info for info in self.versions() if info.name in names]

    def held(self, info: VersionInfo) -> int:
        """The log offset up to which a version has all events, itself or in its snapshot."""
        return max(info.log_offset, _offset(self.snapshot_path / info.name))

    def learned(self) -> int | None:
        """The log offset from which a learner may have to read, also after a rollback; None where none has learned."""
        if not self.reports_path.is_file():
            return None
        pointer = self.pointer()
        newest = self.newest_after(pointer)
        others = [info.log_offset for info in self.pointed() if newest is None or info.name != pointer.current]
        return min([*others, *([] if newest is None else [newest.log_offset])])

    def newest_after(self, pointer: Pointer) -> VersionInfo | None:
        """The newest version that was written from the current one since it is current: there learning goes on."""
        later = [info for info in self.versions() if info.parent == pointer.current and info.created >= pointer.since]
        return later[-1] if later else None

    def check_log(self, log: EventLog) -> None:
        """Make sure that events that come get offsets which no version and no snapshot has seen already.

        Raises:
            StoreError: the log is another one, or an older copy.
        """
        seen, end = self.seen(), log.end()
        if end == 0 < seen:
            log.load(iter(()), seen)
        elif end < seen:
            raise StoreError(
                f"the event log ends at offset {end}, but {self.path} has seen events up to {seen}, so new ones would "
                "be taken for known: it is another log or an older copy. Give the right --log, or copy it over: "
                "temporec events backup DIR FILE --log OLD, then temporec events restore DIR FILE --log NEW"
            )

    def seen(self) -> int:
        """The last log offset that some version or snapshot has."""
        snapshots = [_offset(path.parent) for path in self.snapshot_path.glob("*/live.json")]
        return max([*snapshots, *(info.log_offset for info in self.versions())])

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest `keep` versions and those that the pointer names; what went."""
        with self.locked("versions"), self.locked("pointer"):
            pointer = self.pointer()
            needed = {pointer.current, pointer.previous, pointer.control, *self._names()[-max(1, keep) :]}
            gone = [name for name in self._names() if name not in needed]
            for name in gone:
                (self._versions_path / name).replace(self._versions_path / f".{name}")
                shutil.rmtree(self._versions_path / f".{name}")
        return gone

    def _point(self, pointer: Pointer) -> Pointer:
        write_atomic(self._pointer_path, json.dumps(asdict(pointer), indent=2))
        return pointer

    def _names(self) -> list[str]:
        found = (path.parent.name for path in self._versions_path.glob(f"[!.]*/{INFO}"))
        return sorted(found, key=lambda name: (_number(name), name))

    def _info(self, name: str, current: str | None) -> VersionInfo:
        path = self.folder(name) / INFO
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            return VersionInfo(name=name, is_current=name == current, **plain)
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"{path} cannot be read ({error!s:.200}); restore it from a backup") from None

    @contextmanager
    def alone(self, what: str, otherwise: str) -> Iterator[None]:
        """Only one process at a time; the system lets go of it when the process ends, however it ends.

        Raises:
            StoreError: with the sentence `otherwise`, where another one is there.
        """
        with (self.path / f".{what}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(otherwise) from None
            yield

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Only one process and thread at a time; the others wait."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._versions_path.mkdir(exist_ok=True)
            with (self.path / f".{what}.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            said = error.strerror or str(error)
            raise StoreError(f"cannot change {self.path}: {said}; look for free space and rights") from None


def _offset(snapshot: Path) -> int:
    """The log offset of a snapshot; 0 where there is none."""
    try:
        return int(json.loads((snapshot / "live.json").read_text(encoding="utf-8"))["offset"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _number(name: str) -> int:
    """5 of v5; 0 of a name that someone gave."""
    return int(name[1:]) if re.fullmatch("v[0-9]{1,9}", name) else 0


def _copy(source: Path, target: Path) -> None:
    """A checkpoint without its bytes where the file system can link; saved models are replaced, never changed."""
    shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
