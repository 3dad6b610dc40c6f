"""The demonstration says why, on a small part of its sheet."""

from pathlib import Path

import pytest

from temporec.data.samples import online_retail
from temporec.recommend.base import Recommender
from temporec.workflow import Settings, demo


def test_every_recommended_item_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = online_retail().head(15_000)
    monkeypatch.setattr(demo, "online_retail", lambda: sheet)
    said: list[str] = []
    fast = Settings().override({"canary": False, "baselines": ["popularity"], "run.progress": False})
    result = demo.run_demo(tmp_path / "out", fast, {"training.epochs": 1, "encoder.dim": 8}, said.append)
    model = Recommender.load(tmp_path / "out")
    rows = result["recommendations"]["items"]
    user = result["recommendations"]["user"]
    assert len(rows) == 5
    for row in rows:
        assert row["why"] == model.explain(row["item"], user=user, k=5).why
        assert row["why"] in "\n".join(said)
