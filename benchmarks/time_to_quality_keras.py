"""The contestant of time_to_quality.py that trains as article A1 does, on Keras and TensorFlow.

Runs in an environment of its own, without pixelwise.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import keras
import tensorflow

from throughput_keras import build, read

BATCH_SIZE = 32
"""Keras' own default, which the article leaves."""


class Clock(keras.callbacks.Callback):
    """Seconds of training, validation included, at the end of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_begin(self, logs: object = None) -> None:  # noqa: ARG002
        """Start the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Note the time."""
        self.seconds.append(time.perf_counter() - self._started)


def main() -> None:
    """Run the task given as the one argument."""
    task = json.loads(sys.argv[1])
    keras.utils.set_random_seed(task["seed"])
    images, masks = read(Path(task["data"]))
    model = build(task["model"], *images.shape[1:3], masks.shape[-1])
    metrics = [keras.metrics.Recall(name="recall"), keras.metrics.Precision(name="precision")]
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=metrics)
    clock = Clock()
    history = model.fit(
        images,
        masks,
        batch_size=BATCH_SIZE,
        epochs=task["epochs"],
        validation_data=read(Path(task["data"]), "val"),
        verbose=0,
        callbacks=[clock],
    ).history
    rows = [
        {"seconds": seconds, "loss": loss, "recall": recall, "precision": precision}
        for seconds, loss, recall, precision in zip(
            clock.seconds,
            history["val_loss"],
            history["val_recall"],
            history["val_precision"],
            strict=True,
        )
    ]
    versions = {"keras": keras.__version__, "tensorflow": tensorflow.__version__}
    print(json.dumps({"epochs": rows, "versions": versions}))


if __name__ == "__main__":
    main()
