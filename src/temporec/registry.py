"""Names for everything that can be swapped: encoders, heads, losses, embeddings, readers, baselines, text encoders.

A built-in registers itself in its own file; a third party uses the same decorator, or an entry point in the group
`temporec.<kind>`. Rooms are imported when one of their names is first asked for. Text encoders have no room in the
core: those of the extra `llm` come by entry points too.
"""

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from temporec.errors import ConfigError, MissingExtraError, UnknownNameError

__all__ = ["get", "names", "register"]

T = TypeVar("T")
_ROOMS: dict[str, str | None] = {
    "encoder": "temporec.encoders",
    "loss": "temporec.losses",
    "embedding": "temporec.embeddings",
    "head": "temporec.heads",
    "reader": "temporec.data",
    "baseline": "temporec.baselines",
    "recommender": "temporec.recommend",
    "text_encoder": None,
}
_FILES = {"reader": "reader"}  # of a room with other stages beside it, only files with this word in their name
_entries: dict[str, dict[str, Any]] = {kind: {} for kind in _ROOMS}
_broken: dict[tuple[str, str], ImportError] = {}  # entry points that could not be imported
_loaded: set[str] = set()


def register(kind: str, name: str) -> Callable[[T], T]:
    """Class decorator: `@register("encoder", "gru")`. A name taken by another class is refused."""
    if kind not in _ROOMS:
        raise UnknownNameError(f"no registry kind {kind!r}; known: {', '.join(sorted(_ROOMS))}")

    def add(entry: T) -> T:
        taken = _entries[kind].get(name)
        if taken is not None and getattr(taken, "__qualname__", taken) != getattr(entry, "__qualname__", entry):
            raise ConfigError(f"{kind} {name!r} is already registered as {taken!r}; choose another name")
        _entries[kind][name] = entry
        return entry

    return add


def names(kind: str) -> list[str]:
    """All registered names of one kind, sorted."""
    _load(kind)
    return sorted(_entries[kind])


def get(kind: str, name: str) -> Any:
    """The class registered under `name`; raises `UnknownNameError` with the known names."""
    _load(kind)
    if (kind, name) in _broken:
        raise MissingExtraError(f"{kind} {name!r} is installed but cannot be imported: {_broken[kind, name]}")
    if name not in _entries[kind]:
        known = ", ".join(sorted(_entries[kind]))
        raise UnknownNameError(
            f"no {kind} named {name!r}; known: {known}. Own classes: @register({kind!r}, ...) first."
        )
    return _entries[kind][name]


def _load(kind: str) -> None:
    if kind not in _ROOMS:
        raise UnknownNameError(f"no registry kind {kind!r}; known: {', '.join(sorted(_ROOMS))}")
    if kind in _loaded:
        return
    _loaded.add(kind)
    if (name := _ROOMS[kind]) is not None:
        room = importlib.import_module(name)
        for module in pkgutil.iter_modules(room.__path__):
            if _FILES.get(kind, "") in module.name:
                importlib.import_module(f"{name}.{module.name}")
    for point in entry_points(group=f"temporec.{kind}"):
        try:
            register(kind, point.name)(point.load())
        except ImportError as error:  # it must not take the others with it
            _broken[kind, point.name] = error
