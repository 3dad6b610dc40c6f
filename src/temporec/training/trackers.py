"""Listeners that write to experiment trackers: TensorBoard and MLflow (extra `track`)."""

from pathlib import Path
from typing import Any

from temporec.errors import MissingExtraError, UnknownNameError
from temporec.training.listeners import EpochRecord, Listener, Silent

__all__ = ["MLflowTracker", "TensorBoardTracker", "tracker"]


def tracker(name: str, folder: Path, run: str) -> Listener:
    """A tracker by name: `tensorboard` (event files under `folder`) or `mlflow` (its own environment variables)."""
    if name == "tensorboard":
        return TensorBoardTracker(folder, run)
    if name == "mlflow":
        return MLflowTracker(run)
    raise UnknownNameError(f"no tracker named {name!r}; known: tensorboard, mlflow")


class TensorBoardTracker(Silent):
    """Loss and validation per epoch as TensorBoard scalars."""

    def __init__(self, folder: Path, run: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError(
                "tracking with TensorBoard needs tensorboard. Run: pip install 'temporec[track]'"
            ) from None
        self._writer: Any = SummaryWriter(str(folder / run))

    def epoch(self, record: EpochRecord) -> None:
        for name, value in _scalars(record).items():
            self._writer.add_scalar(name, value, record.epoch)

    def close(self) -> None:
        self._writer.close()


class MLflowTracker(Silent):
    """Loss and validation per epoch as metrics of an MLflow run."""

    def __init__(self, run: str) -> None:
        try:
            import mlflow
        except ImportError:
            raise MissingExtraError("tracking with MLflow needs mlflow. Run: pip install 'temporec[track]'") from None
        self._client: Any = mlflow.MlflowClient()
        experiment = mlflow.set_experiment("temporec")
        self._run = self._client.create_run(experiment.experiment_id, run_name=run).info.run_id

    def epoch(self, record: EpochRecord) -> None:
        for name, value in _scalars(record).items():
            self._client.log_metric(self._run, name, value, step=record.epoch)

    def close(self) -> None:
        self._client.set_terminated(self._run)


def _scalars(record: EpochRecord) -> dict[str, float]:
    values = {
        "loss": record.loss,
        "seconds": record.seconds,
        "validation_ndcg_10": record.validation,
        "validation_accuracy": record.accuracy,
    }
    return {name: value for name, value in values.items() if value is not None}
