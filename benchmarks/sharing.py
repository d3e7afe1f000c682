"""What sharing saves: A4's sliding window, crop by crop against the equivalent convolution.

    python benchmarks/sharing.py           a minute on 2 cores

Both ways take the same weights and give the same logits, which is checked here too.
"""

from __future__ import annotations

import time

import torch

from measuring import print_table
from pixelwise.models import create_model
from pixelwise.models.patch_classifier import PatchClassifier

SIZES = ((32, 32), (64, 64), (128, 128))
"""Heights and widths of the image; by crops, 360 x 480 would take minutes."""


def compare(model: PatchClassifier, height: int, width: int) -> tuple[str, ...]:
    """A row of the table: both times, their ratio, and how far the logits lie apart."""
    image = torch.rand(1, 3, height, width)
    with torch.no_grad():
        model(image)  # the first one builds the kernels
        started = time.perf_counter()
        by_windows = model.classify_windows(image)
        middle = time.perf_counter()
        at_once = model(image)
        ended = time.perf_counter()
    slow, fast = middle - started, ended - middle
    difference = (by_windows - at_once).abs().max().item()
    size = f"{height} x {width}"
    return size, f"{slow:.3f}", f"{fast:.4f}", f"{slow / fast:.0f}", f"{difference:.1e}"


def main() -> None:
    """Print both times and their ratio for every size."""
    torch.manual_seed(0)
    model = create_model("patch-classifier", 12, 3).eval()
    assert isinstance(model, PatchClassifier)
    headings = ("image", "crops, s", "convolution, s", "ratio", "largest difference of logits")
    print_table(headings, (compare(model, *size) for size in SIZES))


if __name__ == "__main__":
    main()
