"""The contestant of throughput.py that runs on Keras and TensorFlow, as article A1 does.

Runs in an environment of its own, without pixelwise. All images are in memory, nothing is
augmented: that is how the article trains, and it only makes Keras faster.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow
from keras import layers

NUM_PARAMETERS = 74_595
"""Of either network, at 1 channel and 3 classes: as many as ours."""


def read(data: Path, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """The images (N, H, W, 1) and masks (N, H, W, K) of a split, 0 to 1, float32."""
    images = sorted((data / split / "images").glob("*.png"))
    classes = sorted(path for path in (data / split / "masks").iterdir())
    load = keras.utils.load_img

    def gray(path: Path) -> np.ndarray:
        return np.asarray(load(path, color_mode="grayscale"), np.float32) / 255

    masks = [np.stack([gray(folder / path.name) for folder in classes], -1) for path in images]
    return np.stack([gray(path) for path in images])[..., None], np.stack(masks)


def build(model: str, height: int, width: int, num_classes: int, filters: int = 16) -> keras.Model:
    """The article's model 1 or model 2."""
    widths = [filters, *[2 * filters] * 8, filters]
    network = [layers.Input((height, width, 1))]
    for number, channels in enumerate(widths, start=1):
        network.append(layers.Conv2D(channels, 3, activation="relu", padding="same"))
        if model == "encoder-decoder" and number in (2, 4):
            network.append(layers.MaxPooling2D())
        if model == "encoder-decoder" and number in (6, 8):
            network.append(layers.UpSampling2D())
    network.append(layers.Conv2D(num_classes, 3, activation="sigmoid", padding="same"))
    return keras.Sequential(network)


class Clock(keras.callbacks.Callback):
    """Keeps what every epoch took, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs_s: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Start the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Stop the clock."""
        self.epochs_s.append(time.perf_counter() - self._started)


def main() -> None:
    """Run the task given as the one argument."""
    task = json.loads(sys.argv[1])
    images, masks = read(Path(task["data"]))
    model = build(task["model"], *task["size"], masks.shape[-1])
    if model.count_params() != NUM_PARAMETERS:
        sys.exit(f"the network must have {NUM_PARAMETERS} parameters. Got {model.count_params()}")
    model.compile(optimizer="adam", loss="binary_crossentropy")
    clock = Clock()
    model.fit(
        images,
        masks,
        batch_size=task["batch_size"],
        epochs=task["epochs"],
        verbose=0,
        callbacks=[clock],
    )
    result = {
        "images_per_s": len(images) / statistics.median(clock.epochs_s[1:]),
        "versions": {"keras": keras.__version__, "tensorflow": tensorflow.__version__},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
