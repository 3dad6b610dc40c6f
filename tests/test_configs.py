"""Every file in configs/ is read and survives being written again; the quick fit differs in training and pieces."""

from pathlib import Path

import pytest

from temporec.recommend.fit_config import FitConfig
from temporec.workflow.presets import fit_config

FILES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_is_read_and_written(path: Path, tmp_path: Path) -> None:
    config = fit_config(file=path)
    (tmp_path / "again.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert FitConfig.from_file(tmp_path / "again.yaml") == config


def test_the_quick_fit_is_the_preset_but_for_its_training_and_pieces() -> None:
    quick, preset = fit_config(file=next(path for path in FILES if path.stem == "quick")), fit_config("gru")
    own = {"training": preset.training.to_dict(), "loss": preset.loss.to_dict()}
    assert quick.override(own) == preset
    assert quick.training.epochs < preset.training.epochs
