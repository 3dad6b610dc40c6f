"""Sizes that keep a file on a few screens and a function on one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "temporec"

FILE_LINES = 300
FUNCTION_LINES = 40  # without the docstring
PARAMETERS = 7  # without self and cls
NAMELESS = frozenset({"utils.py", "common.py", "helpers.py"})
OPEN_WORK = re.compile(r"\b(TO[D]O|FIX[M]E)\b")  # the brackets keep this line out of a search for the markers

Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(function: Function) -> int:
    """Lines from `def` to the end, the docstring's own lines left out."""
    first, last = function.lineno, function.end_lineno or function.lineno
    lines = last - first + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def parameters(function: Function) -> int:
    """Number of parameters, `*args` and `**kwargs` one each; a leading self or cls does not count."""
    arguments = function.args
    positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    if positional[:1] in (["self"], ["cls"]):
        del positional[0]
    starred = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return len(positional) + len(arguments.kwonlyargs) + len(starred)


def over_budget(path: Path, source: Path) -> Iterator[str]:
    """One readable line for every broken budget in one file."""
    name, text = path.relative_to(source), path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if path.name in NAMELESS:
        yield f"{name}: named after no stage; say what the module does"
    if len(lines) > FILE_LINES:
        yield f"{name}: {len(lines)} lines (budget {FILE_LINES}): split it by stage"
    for number, line in enumerate(lines, 1):
        if marker := OPEN_WORK.search(line):
            yield f"{name}:{number}: {marker[0]}: do it or leave it out"
    for node in ast.walk(ast.parse(text, filename=str(path))):
        if not isinstance(node, Function):
            continue
        if (size := body_lines(node)) > FUNCTION_LINES:
            yield f"{name}:{node.lineno}: {node.name} has {size} lines (budget {FUNCTION_LINES})"
        # The parameters of a command are its options.
        if name.parts[0] != "cli" and (count := parameters(node)) > PARAMETERS:
            yield f"{name}:{node.lineno}: {node.name} has {count} parameters (budget {PARAMETERS}): use a config object"


def all_over_budget(source: Path) -> list[str]:
    return [line for path in sorted(source.rglob("*.py")) for line in over_budget(path, source)]


def test_source_is_within_budget() -> None:
    assert SOURCE.is_dir(), f"{SOURCE} is missing"
    assert not (found := all_over_budget(SOURCE)), "\n" + "\n".join(found)


def function(lines: int, parameters: str = "", docstring: int = 0) -> str:
    """Source of a function of `lines` lines, plus `docstring` lines of docstring."""
    words = ['    """One.', *["    More."] * (docstring - 2), '    """'] if docstring else []
    return "\n".join([f"def f({parameters}):", *words, *["    x = 1"] * (lines - 1)])


ALLOWED = {
    "a full file": ("data/a.py", "x = 1\n" * FILE_LINES),
    "a full function": ("data/a.py", function(FUNCTION_LINES)),
    "a long docstring": ("data/a.py", function(FUNCTION_LINES, docstring=20)),
    "seven parameters": ("data/a.py", "class A:\n    def f(self, a, b, c, /, d, *e, f, **g): ..."),
    "a command": ("cli/a.py", "def f(a, b, c, d, e, f, g, h): ..."),
}
REFUSED = {
    "file": ("data/a.py", "x = 1\n" * (FILE_LINES + 1), "split it by stage"),
    "function": ("data/a.py", function(FUNCTION_LINES + 1), "f has 41 lines"),
    "method": ("data/a.py", "class A:\n" + "\n".join(f"    {each}" for each in function(41).split("\n")), "41 lines"),
    "parameters": ("data/a.py", "async def f(a, b, c, d, e, f, g, *, h): ...", "f has 8 parameters"),
    "marker": ("data/a.py", "x = 1  # TODO: later", "do it or leave it out"),
    "name": ("data/utils.py", "", "named after no stage"),
}


def plant(source: Path, name: str, text: str) -> Path:
    path = source / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return source


@pytest.mark.parametrize("name", ALLOWED)
def test_checker_accepts_what_is_within_budget(tmp_path: Path, name: str) -> None:
    assert all_over_budget(plant(tmp_path, *ALLOWED[name])) == []


@pytest.mark.parametrize("name", REFUSED)
def test_checker_catches_what_is_over_budget(tmp_path: Path, name: str) -> None:
    file, text, reason = REFUSED[name]
    found = all_over_budget(plant(tmp_path, file, text))
    assert len(found) == 1, found
    assert reason in found[0]
