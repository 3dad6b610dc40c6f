"""The public names are exact, they resolve lazily, and importing the package costs nothing."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import temporec

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

PROBE = """
import json, sys, time
start = time.process_time()
import temporec
print(json.dumps({"seconds": time.process_time() - start, "modules": sorted({m.split(".")[0] for m in sys.modules})}))
"""


def import_in_a_new_process() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def normal(requirement: str) -> str:
    """The distribution's name in a requirement, as package indexes compare it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, f"no name in the requirement {requirement!r}"
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def modules_of_extras() -> set[str]:
    """Top-level modules of the installed distributions that only an extra asks for."""
    core = {normal(each) for each in PROJECT["dependencies"]}
    extra = {normal(each) for some in PROJECT["optional-dependencies"].values() for each in some} - core
    return {
        module
        for module, owners in packages_distributions().items()
        if not module.startswith("_") and any(normal(owner) in extra for owner in owners)
    }


def test_all_is_exact() -> None:
    public = {name for name in dir(temporec) if not name.startswith("_")}
    rooms = {
        name
        for name in public - set(temporec.__all__)
        if isinstance(module := getattr(temporec, name), ModuleType) and module.__name__ == f"temporec.{name}"
    }
    assert public - rooms == {name for name in temporec.__all__ if not name.startswith("_")}
    assert len(temporec.__all__) == len(set(temporec.__all__)), "a name stands twice in __all__"


@pytest.mark.parametrize("name", temporec.__all__)
def test_public_name_resolves(name: str) -> None:
    first = getattr(temporec, name)
    assert getattr(temporec, name) is first
    assert name in dir(temporec)


def test_unknown_name_is_an_attribute_error() -> None:
    name = "no_such_name"
    with pytest.raises(AttributeError, match=name):
        getattr(temporec, name)


def test_star_import_gives_exactly_all() -> None:
    names: dict[str, Any] = {}
    exec("from temporec import *", names)
    assert set(names) - {"__builtins__"} == set(temporec.__all__)


def test_import_loads_neither_torch_nor_an_extra() -> None:
    loaded = set(import_in_a_new_process()["modules"])
    assert "temporec" in loaded
    assert not loaded & (modules_of_extras() | {"torch", "lightning_fabric", "sklearn", "scipy", "matplotlib"})


def test_import_takes_less_than_a_second() -> None:
    assert min(import_in_a_new_process()["seconds"] for _ in range(3)) < 1.0


def test_version_and_changelog_agree() -> None:
    assert importlib.import_module("temporec").__version__ == PROJECT["version"]
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
