"""The logger ``mlflow``: a run in a local database of the run folder, or on the user's server."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.training.loggers.base import RunLogger, register_logger

EXPERIMENT = "pixelwise"
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@register_logger("mlflow")
class MLflowLogger(RunLogger):
    """Writes a run of MLflow into ``mlflow/`` of the run folder.

    Where the environment variable ``MLFLOW_TRACKING_URI`` is set, the run goes there instead.
    """

    package = "mlflow"
    steps_per_value = 10  # each value is a transaction of the database
    _client: Any
    _run: str

    def start(self, folder: Path, recipe: str) -> None:
        """Begin a run that is called as the folder; a resumed run is a further one."""
        # MLflow sends usage data to its makers unless this is set before it is imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        server = os.environ.get("MLFLOW_TRACKING_URI")
        place = (folder / "mlflow").absolute()
        if not server:
            place.mkdir(exist_ok=True)
        self._client = MlflowClient(tracking_uri=server or f"sqlite:///{place / 'mlflow.db'}")
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(
                EXPERIMENT, artifact_location=None if server else (place / "artifacts").as_uri()
            )
        )
        self._run = self._client.create_run(number, run_name=folder.name).info.run_id
        self._client.log_text(self._run, recipe, "recipe.yaml")

    def scalars(self, values: Mapping[str, float], axis: str, position: int) -> None:
        """Write all numbers in one call."""
        from mlflow.entities import Metric

        del axis  # each metric has positions of its own
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, position) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, path: Path, epoch: int) -> None:
        """Copy a picture to the artifacts."""
        del epoch
        self._client.log_artifact(self._run, str(path), "pictures")

    def close(self, status: str) -> None:
        """End the run."""
        self._client.set_terminated(self._run, STATUS[status])
