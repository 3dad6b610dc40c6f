"""The base of all configuration: frozen, unknown keys refused, YAML and JSON both ways, dotted overrides."""

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from temporec.errors import ConfigError

__all__ = ["Config", "Names", "parse_overrides"]


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""A field that takes a list, or names separated by commas."""


class Config(BaseModel):
    """Base class of every configuration object.

    A config says *what* to build; how to run it (seed, device, threads) stands in `RunOptions`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values; raises `ConfigError` in one sentence that names the key and what is allowed."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(_sentence(cls, error)) from None

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read YAML or JSON (JSON is YAML too)."""
        path = Path(path)
        if not path.is_file():
            raise ConfigError(f"configuration file {path} does not exist; give the path of a YAML or JSON file")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"configuration file {path} is not valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict):
            raise ConfigError(f"configuration file {path} holds {type(values).__name__}, not a mapping of option names")
        return cls.of(values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `of(to_dict())` gives an equal config."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_yaml(self) -> str:
        return str(yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))

    def override(self, values: Mapping[str, Any]) -> Self:
        """A copy with dotted keys replaced: `config.override({"encoder.dim": 128})`."""
        tree = self.to_dict()
        for key, value in values.items():
            *path, last = key.split(".")
            node: Any = tree
            for part in path:
                node = node.setdefault(part, {}) if isinstance(node, dict) else None
                if not isinstance(node, dict):
                    raise ConfigError(f"option {key!r}: {part!r} has no options below it; see `to_yaml()` for the tree")
            node[last] = value
        return type(self).of(tree)


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Turn `["training.epochs=2", "encoder.kind=gru"]` into a mapping; values are read as YAML scalars or lists."""
    values: dict[str, Any] = {}
    for item in items:
        key, sign, text = item.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set {item!r} is not of the form key=value, for example training.epochs=2")
        try:
            values[key.strip()] = yaml.safe_load(text) if text.strip() else ""
        except yaml.YAMLError:
            values[key.strip()] = text
    return values


def _sentence(cls: type[Config], error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or cls.__name__
    if first["type"] == "extra_forbidden":
        known = _known(cls, first["loc"])
        close = get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"unknown option {name!r} in {cls.__name__}{hint}; known: {', '.join(sorted(known))}"
    if isinstance(cause := first.get("ctx", {}).get("error"), ConfigError):
        return f"option {name!r} of {cls.__name__}: {cause}"
    return f"option {name!r} of {cls.__name__}: {first['msg']}; got {first.get('input')!r}"


def _known(cls: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc[:-1]:
        field = cls.model_fields.get(str(part))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        cls = kind
    return list(cls.model_fields)
