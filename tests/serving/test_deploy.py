"""The files in deploy/ are well formed and say what the documentation says. No container engine is needed."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_compose_file() -> None:
    plain = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = plain["services"]["temporec"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_the_commands_of_the_compose_file() -> None:
    """Tokens are made before the first start, so with the folder of the model; the user of the image owns that."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    service = yaml.safe_load(text)["services"]["temporec"]
    (folder,) = re.findall(r"^# docker compose .* tokens add (\S+) ", text, re.MULTILINE)
    assert folder == service["command"][1]
    assert folder.startswith(service["volumes"][0].rpartition(":")[2])
    (owner,) = re.findall(r'^# sudo chown -R (\d+):\d+ "\$MODEL"', text, re.MULTILINE)
    assert f"--uid {owner} " in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_the_dockerfile() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    words = [line.split()[0] for line in lines if line and not line.startswith("#")]
    known = {
        "FROM",
        "WORKDIR",
        "ENV",
        "RUN",
        "COPY",
        "USER",
        "EXPOSE",
        "HEALTHCHECK",
        "STOPSIGNAL",
        "ENTRYPOINT",
        "CMD",
    }
    assert set(words) <= known
    assert words.index("USER") < words.index("ENTRYPOINT")
    root = DEPLOY.parent
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            assert all((root / name).exists() for name in line.split()[1:-1]), line


def test_the_unit() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "temporec.service")
    assert unit["Service"]["ExecStart"].split()[1] == "serve"
    assert unit["Service"]["NoNewPrivileges"] == "yes"
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here; the unit was read as a file only")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", DEPLOY / "temporec.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = [line for line in done.stderr.splitlines() if "temporec.service" in line and "not executable" not in line]
    assert not wrong
