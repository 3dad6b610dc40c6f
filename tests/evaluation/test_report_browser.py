"""A real report in a real browser: it loads nothing from outside, logs no error, and fits a desk and a phone.

The pictures are kept in `.temporec/report-WIDTH.png` (ignored by git) for people to look at.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import polars as pl
import pytest

from temporec.data.samples import online_retail, online_retail_items
from temporec.workflow import Settings, fit

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PICTURES = Path(__file__).parents[2] / ".temporec"
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--enable-logging=stderr",
]  # fmt: skip
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a fit on a hundred customers of the shipped sheet."""
    sheet = online_retail()
    some = sheet["CustomerID"].drop_nulls().unique().sort()[::40].to_list()
    log = sheet.filter(pl.col("CustomerID").is_in(some))
    out = tmp_path_factory.mktemp("browser") / "shop"
    settings = Settings().override({"canary": False, "refit": False, "judge.target": "next_basket"})
    fit(
        log,
        online_retail_items(sheet),
        "gru",
        settings=settings,
        overrides={"training.epochs": 3, "encoder.dim": 16},
        out=out,
    )
    return out / "report.html"


def look(page: Path, width: int, picture: Path, work: Path) -> tuple[list[str], list[str]]:
    """Take a picture of a page: the addresses that it asked for (not the browser for itself), and its complaints."""
    picture.unlink(missing_ok=True)
    done = subprocess.run(
        [
            str(CHROMIUM), *QUIET, f"--user-data-dir={work / 'profile'}", f"--log-net-log={work / 'net.json'}",
            f"--window-size={width},12000", f"--screenshot={picture}", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert picture.exists(), done.stderr
    log = json.loads((work / "net.json").read_text(encoding="utf-8"))
    jobs = [event["params"] for event in log["events"] if "initiator" in event.get("params", {})]
    asked = [job["url"] for job in jobs if job["initiator"] in ("file://", "null") and job["url"] != page.as_uri()]
    return asked, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [1280, 390])
def test_in_chromium(report: Path, width: int, tmp_path: Path) -> None:
    PICTURES.mkdir(exist_ok=True)
    picture = PICTURES / f"report-{width}.png"
    assert look(report, width, picture, tmp_path) == ([], [])
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[1] == width
    rows = np.flatnonzero((pixels != pixels[-1, 0]).any(axis=(1, 2)))
    assert 2000 < len(rows) < 11_900  # there is much to see, and all of it is in the picture
    for edge in (pixels[:, :8], pixels[:, -8:]):  # nothing sticks out of the page
        assert (edge == pixels[-1, 0]).all()


def test_a_page_that_asks_for_more_is_caught(report: Path, tmp_path: Path) -> None:
    """Its own rules stop a report from loading a picture, with a complaint; without them the picture is asked for."""
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    planted = report.read_text(encoding="utf-8").replace("<main>", '<main><img src="http://127.0.0.1:9/x.png">')
    page.write_text(planted, encoding="utf-8")
    asked, complaints = look(page, 390, picture, tmp_path)
    assert not asked
    assert "Content Security Policy" in complaints[0]
    page.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", planted), encoding="utf-8")
    assert look(page, 390, picture, tmp_path)[0] == ["http://127.0.0.1:9/x.png"]
