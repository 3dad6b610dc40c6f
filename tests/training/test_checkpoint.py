"""The state of an unfinished run: it comes back as it was, and damage or a newer version is named."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from temporec.data.dataset import build_dataset
from temporec.data.sequences import Sequences
from temporec.durable import write_atomic, writing
from temporec.errors import CheckpointError
from temporec.model import ModelConfig, ModelInputs, SequenceModel
from temporec.runtime import RunOptions
from temporec.training.checkpoint import Progress, ResumeFolder
from temporec.training.trainer import Trainer, TrainingConfig

LOG = build_dataset(pl.DataFrame({"user": [u for u in range(9) for _ in range(5)], "item": [*range(1, 10)] * 5}))


def build(dim: int = 4) -> tuple[SequenceModel, torch.optim.Optimizer]:
    model = SequenceModel(ModelConfig.of({"encoder": {"kind": "gru", "dim": dim}}), ModelInputs(LOG.catalog.size))
    return model, torch.optim.AdamW(model.parameters())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The folder of a run of two epochs with averaged and best weights."""
    model, _ = build()
    training = TrainingConfig.of({"epochs": 2, "tokens": 16, "average": 0.9, "optimizer": "adamw"})
    trainer = Trainer(training, RunOptions(precision="fp32"), resume=tmp_path / "state")
    trainer.fit(model, Sequences(LOG.interactions, 8, 16), lambda m: (float(m.item_table().detach().abs().mean()), 0.0))
    return tmp_path / "state"


def state_of(folder: Path) -> Path:
    return folder / (folder / "current").read_text()


def test_everything_comes_back(saved: Path) -> None:
    model, optimizer = build()
    progress = ResumeFolder(saved).load(model, optimizer)
    assert (progress.epoch, progress.step, len(progress.records)) == (2, 0, 2)
    assert progress.average is not None
    assert progress.best is not None
    again = ResumeFolder(saved.parent / "again")
    again.save(progress, model, optimizer)
    other, moments = build()
    assert again.load(other, moments).records == progress.records
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    first, second = optimizer.state_dict()["state"], moments.state_dict()["state"]
    assert first.keys() == second.keys()
    assert all(torch.equal(first[i]["exp_avg_sq"], second[i]["exp_avg_sq"]) for i in first)
    assert [path.name for path in saved.iterdir() if path.is_dir()] == [state_of(saved).name]


def newer(state: Path) -> None:
    plain = json.loads((state / "progress.json").read_text())
    (state / "progress.json").write_text(json.dumps({**plain, "format": 99}))


def more(state: Path) -> None:
    plain = json.loads((state / "progress.json").read_text())
    plain["progress"]["mood"] = "good"
    (state / "progress.json").write_text(json.dumps(plain))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "newer": (newer, "format 99, this version reads up to 1"),
    "unknown field": (more, "mood"),
    "half": (lambda s: (s / "progress.json").write_text('{"format": 1'), "cannot be resumed"),
    "weights gone": (lambda s: (s / "model.safetensors").unlink(), "model.safetensors"),
    "weights cut": (lambda s: (s / "best.safetensors").write_bytes(b"1234"), "best.safetensors is damaged"),
    "names nothing": (lambda s: (s.parent / "current").write_text("00000099-9"), "cannot be resumed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_state_is_refused_in_one_sentence(case: str, saved: Path) -> None:
    damage, said = BROKEN[case]
    damage(state_of(saved))
    with pytest.raises(CheckpointError, match="leave out --resume to start anew") as caught:
        ResumeFolder(saved).load(*build())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_in_any_tensor_file_is_noticed(saved: Path) -> None:
    files = sorted(state_of(saved).glob("*.safetensors"))
    assert [file.stem for file in files] == ["average", "best", "model", "optimizer"]
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(CheckpointError, match=f"{file.name} is damaged"):
            ResumeFolder(saved).load(*build())
        file.write_bytes(whole)
    ResumeFolder(saved).load(*build())


def test_another_width_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="configuration that it was started with"):
        ResumeFolder(saved).load(*build(8))


def test_a_failed_save_leaves_the_state_before_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in saved.iterdir())
    monkeypatch.setattr("temporec.training.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*No space left on device; free space"):
        ResumeFolder(saved).save(Progress(total_steps=99), *build())
    assert sorted(path.name for path in saved.iterdir()) == before
    ResumeFolder(saved).load(*build())


def test_writing_removes_its_part_whatever_happens(tmp_path: Path) -> None:
    part = tmp_path / "a.part"

    def interrupted() -> None:
        with writing(tmp_path / "a", part):
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not part.exists()
    write_atomic(tmp_path / "a", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
