"""The direction of imports: a room imports only rooms below it, wherever in a file the import stands."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "temporec"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

LEAVES = frozenset({"store", "llm", "serving", "online", "text", "forecast", "tune", "scale", "stream", "port"})
ROOT = "(root)"  # temporec/__init__.py: the table of public names
LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"config"}),  # below runtime, because RunOptions is a Config
    frozenset({"durable", "registry", "runtime"}),
    frozenset({"data"}),
    frozenset({"metrics"}),
    frozenset({"encoders", "losses"}),
    frozenset({"embeddings", "heads"}),
    frozenset({"model"}),
    frozenset({"ranking"}),
    frozenset({"training"}),
    frozenset({"recommend"}),
    frozenset({"baselines"}),
    frozenset({"evaluation"}),
    frozenset({"workflow"}),
    LEAVES,
    frozenset({ROOT}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
PLUGIN_ROOMS = frozenset({"embeddings", "encoders", "heads", "losses", "baselines"})
MEETING_PLACE = "store"  # the one leaf that other leaves may import


class Import(NamedTuple):
    """One import: the dotted module that it reaches, where it stands, and whether it runs with its file."""

    module: str
    line: int
    at_import: bool


def modules_below(source: Path) -> dict[str, Path]:
    """Dotted names and files of all modules in the package folder `source`."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(source).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ROOT


def walk(node: ast.AST, at_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below `node`, and whether it runs when its file is imported."""
    for child in ast.iter_child_nodes(node):
        yield child, at_import
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            lazy = True
        yield from walk(child, at_import and not lazy)


def base_of(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The absolute name of the module in `from ... import`, relative dots resolved."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, node.module] if node.module else kept)


def named_imports(node: ast.AST, module: str, is_package: bool, known: dict[str, Path]) -> list[str]:
    """Modules that one statement or call reaches; a call counts if it names the module in a literal."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = base_of(node, module, is_package)
            full = [f"{base}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            return [name if name in known else base for name in full]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def imports_of(module: str, known: dict[str, Path]) -> Iterator[Import]:
    """All imports of the package's own modules in one file."""
    path = known[module]
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node, at_import in walk(tree):
        for name in named_imports(node, module, path.name == "__init__.py", known):
            if name == PACKAGE or name.startswith(f"{PACKAGE}."):
                yield Import(name, getattr(node, "lineno", 0), at_import)


def reason_against(module: str, path: Path, found: Import) -> str | None:
    """Why this import is refused, or None."""
    here, there = room_of(module), room_of(found.module)
    if unknown := [room for room in (here, there) if room not in LEVEL]:
        return f"the room {unknown[0]!r} has no level; add it to LEVELS in tests/test_layers.py"
    if here == there:
        # Rooms that are one file (errors, model, ...) have no inside; neither has a package's own __init__.
        allowed = {module, f"{PACKAGE}.{here}.base"}
        inside = here in PLUGIN_ROOMS and path.name != "__init__.py" and found.module not in allowed
        return f"files of the plugin room {here!r} import only its base.py" if inside else None
    if here == "cli" and there in LEAVES and found.at_import:
        return f"the command line imports the leaf {there!r} inside the command only"
    if LEVEL[there] < LEVEL[here] or (here in LEAVES and there == MEETING_PLACE):
        return None
    if here in LEAVES and there in LEAVES:
        return f"leaves meet only in {MEETING_PLACE!r}"
    if there in LEAVES:
        return f"{here!r} is core, and core never imports the leaf {there!r}"
    if LEVEL[there] == LEVEL[here]:
        return f"{here!r} and {there!r} are on one level"
    return f"{here!r} is below {there!r}"


def violations(source: Path) -> list[str]:
    """Every refused import below the package folder `source`, one readable line each."""
    known = modules_below(source)
    lines = []
    for module, path in known.items():
        if room_of(module) not in LEVEL:
            lines.append(f"{path.relative_to(source)}: the room {room_of(module)!r} has no level; add it to LEVELS")
            continue
        for found in imports_of(module, known):
            if reason := reason_against(module, path, found):
                lines.append(f"{path.relative_to(source)}:{found.line}: imports {found.module}: {reason}")
    return lines


def test_imports_point_downwards() -> None:
    assert SOURCE.is_dir(), f"{SOURCE} is missing"
    assert not (found := violations(SOURCE)), "\n" + "\n".join(found)


def plant(source: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return source


NEIGHBOURS = {
    "__init__.py": "",
    "errors.py": "",
    "config.py": "",
    "data/__init__.py": "",
    "data/batch.py": "",
    "encoders/__init__.py": "from temporec.encoders.gru import GRU",
    "encoders/base.py": "from temporec.data.batch import SequenceBatch",
    "encoders/gru.py": "from temporec.encoders.base import Steps\nclass GRU: ...",
    "losses/__init__.py": "",
    "training/__init__.py": "",
    "store/__init__.py": "",
    "serving/app.py": "from temporec.store import EventLog\nfrom temporec import __version__",
    "online/__init__.py": "",
    "cli/main.py": "import temporec\ndef serve():\n    from temporec.serving import app",
}

PLANTED = {
    "upwards": ("data/batch.py", "from temporec.training import fit", "'data' is below 'training'"),
    "inside a function": ("data/batch.py", "def f():\n    import temporec.training", "below"),
    "for types only": ("errors.py", "if TYPE_CHECKING:\n    from temporec.config import Config", "below"),
    "relative": ("data/batch.py", "from ..training import fit", "below"),
    "relative in a package": ("data/__init__.py", "from .. import training", "below"),
    "by literal": ("data/batch.py", "importlib.import_module('temporec.training')", "below"),
    "one level": ("encoders/base.py", "from temporec import losses", "on one level"),
    "core to leaf": ("training/__init__.py", "def f():\n    from temporec import online", "core never imports"),
    "leaf to leaf": ("serving/app.py", "from temporec.online import learn", "leaves meet only in 'store'"),
    "store to leaf": ("store/__init__.py", "from temporec.online import learn", "leaves meet only in 'store'"),
    "plugin to plugin": ("encoders/tcn.py", "from temporec.encoders.gru import GRU", "only its base.py"),
    "plugin to its room": ("encoders/tcn.py", "from temporec.encoders import GRU", "only its base.py"),
    "public names from inside": ("data/batch.py", "from temporec import fit", "below '(root)'"),
    "leaf at the top of cli": ("cli/main.py", "from temporec.serving import app", "inside the command only"),
    "a room without a level": ("misc.py", "", "has no level"),
}


def test_checker_accepts_what_the_design_allows(tmp_path: Path) -> None:
    assert violations(plant(tmp_path, NEIGHBOURS)) == []


@pytest.mark.parametrize("name", PLANTED)
def test_checker_catches_a_planted_violation(tmp_path: Path, name: str) -> None:
    file, text, reason = PLANTED[name]
    found = violations(plant(tmp_path, NEIGHBOURS | {file: text}))
    assert len(found) == 1, found
    assert found[0].startswith(file)
    assert reason in found[0]
