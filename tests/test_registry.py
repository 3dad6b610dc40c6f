"""The registry imports no more than the kind that was asked for."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from temporec import registry
from temporec.errors import MissingExtraError


@pytest.mark.parametrize(("kind", "heavy"), [("reader", ["torch", "sklearn"]), ("encoder", ["temporec.baselines"])])
def test_a_kind_imports_only_its_own_files(kind: str, heavy: list[str]) -> None:
    code = (
        "import sys; from temporec import registry; "
        f"assert registry.names({kind!r}); print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_broken_entry_point_does_not_take_the_others_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("gone", "no_such_module:Gone", "temporec.loss")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken] if group == "temporec.loss" else [])
    monkeypatch.setattr(registry, "_loaded", set())
    monkeypatch.setattr(registry, "_broken", {})
    assert "bpr" in registry.names("loss")
    with pytest.raises(MissingExtraError, match="loss 'gone' is installed but cannot be imported: No module named"):
        registry.get("loss", "gone")
