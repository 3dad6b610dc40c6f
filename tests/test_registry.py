"""The registry imports no more than the kind that was asked for."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("kind", "heavy"), [("reader", ["torch", "sklearn"]), ("encoder", ["temporec.baselines"])])
def test_a_kind_imports_only_its_own_files(kind: str, heavy: list[str]) -> None:
    code = (
        "import sys; from temporec import registry; "
        f"assert registry.names({kind!r}); print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
