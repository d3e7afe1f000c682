"""Counting pixels into a confusion matrix: ours, torchmetrics, scikit-learn, numpy, on one core.

    python benchmarks/metrics.py        half a minute; torchmetrics where it is installed

Twelve classes, 4 % ignored pixels, images of 2000 x 2000; the contestants take turns, the best turn
counts, and all must give the same counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.metrics import confusion_matrix

from measuring import print_table, write_results
from pixelwise.metrics.confusion import count_pairs

OURS, PLAIN = "pixelwise", "numpy, three lines"
NUM_CLASSES, IGNORED, SIDE_PX, TURNS = 12, 255, 2000, 5


def draw() -> tuple[np.ndarray, np.ndarray]:
    """A mask of blocks with an ignored margin, and a prediction right in nine of ten pixels."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, NUM_CLASSES, (SIDE_PX // 20, SIDE_PX // 20))
    mask = np.kron(blocks, np.ones((20, 20))).astype(np.uint8)
    wrong = rng.random(mask.shape) < 0.1
    prediction = np.where(wrong, rng.integers(0, NUM_CLASSES, mask.shape), mask).astype(np.uint8)
    mask[: SIDE_PX // 25] = IGNORED
    return prediction, mask


def plain_numpy(prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The usual three lines."""
    labeled = mask != IGNORED
    pairs = mask[labeled].astype(np.int64) * NUM_CLASSES + prediction[labeled]
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def with_scikit_learn(prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Its own function on the labeled pixels."""
    labeled = mask != IGNORED
    return confusion_matrix(mask[labeled], prediction[labeled], labels=range(NUM_CLASSES))


Count = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Prediction and mask to the confusion matrix."""


def contestants() -> dict[str, Count]:
    """Those that are installed."""
    found = {
        OURS: lambda prediction, mask: count_pairs(prediction, mask, NUM_CLASSES),
        PLAIN: plain_numpy,
        "scikit-learn": with_scikit_learn,
    }
    try:
        from torchmetrics.functional.classification import multiclass_confusion_matrix
    except ImportError:
        print("torchmetrics is not installed: pip install torchmetrics")
        return found

    def with_torchmetrics(prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return multiclass_confusion_matrix(
            torch.from_numpy(prediction).long(),
            torch.from_numpy(mask).long(),
            num_classes=NUM_CLASSES,
            ignore_index=IGNORED,
        ).numpy()

    return {**found, "torchmetrics": with_torchmetrics}


def count_in_turns(todo: dict[str, Count], num_turns: int) -> dict[str, list[float]]:
    """The seconds that each contestant takes for one image, turn by turn."""
    prediction, mask = draw()
    expected = plain_numpy(prediction, mask)
    taken: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(num_turns):
        for name, count in todo.items():
            started = time.perf_counter()
            counts = count(prediction, mask)
            taken[name].append(time.perf_counter() - started)
            assert np.array_equal(counts, expected), name
    return taken


def main() -> None:
    """Print a table and write benchmarks/results/metrics.json."""
    torch.set_num_threads(1)
    taken = count_in_turns(contestants(), TURNS)
    speeds = {name: SIDE_PX**2 / 1e6 / min(turns) for name, turns in taken.items()}
    print_table(
        ("contestant", "Mpixel/s, one core", "ratio"),
        [(name, f"{speed:.0f}", f"{speeds[OURS] / speed:.1f}") for name, speed in speeds.items()],
    )
    write_results("metrics", speeds)


if __name__ == "__main__":
    main()
