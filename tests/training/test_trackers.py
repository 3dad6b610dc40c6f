"""Trackers write what a run reports, epoch by epoch."""

from pathlib import Path
from typing import Any

import pytest

from temporec.errors import UnknownNameError
from temporec.training.listeners import EpochRecord, Listener
from temporec.training.trackers import tracker

RECORDS = [
    EpochRecord(1, 3.5, None, None, 0.5, 100),
    EpochRecord(2, 3.0, 0.25, 0.125, 0.25, 100, best=True),
]
WRITTEN = {
    "loss": [(1, 3.5), (2, 3.0)],
    "seconds": [(1, 0.5), (2, 0.25)],
    "validation_ndcg_10": [(2, 0.25)],
    "validation_accuracy": [(2, 0.125)],
}


def report(listener: Listener) -> None:
    """A whole run as the trainer tells it."""
    listener.start(2, 100)
    for record in RECORDS:
        listener.step(record.epoch - 1, 1, record.loss, 100)
        listener.epoch(record)
    listener.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own
def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report(tracker("tensorboard", tmp_path, "gru"))
    found = EventAccumulator(str(tmp_path / "gru")).Reload()
    assert {n: [(e.step, e.value) for e in found.Scalars(n)] for n in found.Tags()["scalars"]} == WRITTEN


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's and its dependencies' own
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow: Any = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.chdir(tmp_path)
    report(tracker("mlflow", tmp_path, "gru"))
    client = mlflow.MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("temporec").experiment_id])
    assert (run.info.run_name, run.info.status) == ("gru", "FINISHED")
    assert {
        n: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, n)] for n in run.data.metrics
    } == WRITTEN


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="known: tensorboard, mlflow"):
        tracker("wandb", tmp_path, "gru")
