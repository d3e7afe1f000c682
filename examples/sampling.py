"""Sampling down and up, drawn from what the layers compute.

python examples/sampling.py docs/images        writes sampling-down.png and sampling-up.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from pixelwise.models.blocks import MaxPool, bed_of_nails, transposed_convolution, unpool

IMAGE = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])[None, None]
KERNEL = torch.tensor([[1.0, 0], [0, -1]])
SMALL = torch.tensor([[1.0, 2], [3, 4]])[None, None]


def main() -> None:
    """Draw both pictures."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    pooled, indices = MaxPool()(IMAGE)
    strided = nn.functional.conv2d(IMAGE, KERNEL[None, None], stride=2)
    down = {
        "feature map": IMAGE,
        "max pooling": pooled,
        "its indices": indices,
        "average pooling": nn.functional.avg_pool2d(IMAGE, 2),
        "strided convolution,\n1 0 / 0 -1": strided,
    }
    transposed = transposed_convolution(1, 1)
    with torch.no_grad():
        transposed.weight.copy_(torch.tensor([[1.0, 0.5], [0.5, 0.25]]))
        up = {
            "feature map": SMALL,
            "nearest": nn.functional.interpolate(SMALL, scale_factor=2, mode="nearest"),
            "bilinear": nn.functional.interpolate(SMALL, scale_factor=2, mode="bilinear"),
            "bed of nails": bed_of_nails(SMALL),
            "un-pooling at\nthe indices above": unpool(SMALL, indices, (4, 4)),
            "transposed convolution,\n1 .5 / .5 .25": transposed(SMALL),
        }
    for name, arrays in (("down", down), ("up", up)):
        path = folder / f"sampling-{name}.png"
        draw(arrays, path)
        print(path)


def draw(arrays: dict[str, Tensor], path: Path) -> None:
    """Draw arrays side by side, every pixel of the same size, with its value."""
    figure = Figure(figsize=(2.0 * len(arrays), 2.5), layout="constrained")
    for axes, (title, array) in zip(figure.subplots(1, len(arrays)), arrays.items(), strict=True):
        values = array[0, 0].numpy()
        axes.imshow(values, cmap="Blues", vmin=min(0, values.min()), vmax=1.6 * values.max())
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlim(-0.55, 3.55)
        axes.set_ylim(3.55, -0.55)
        axes.set_axis_off()
        for (row, column), value in np.ndenumerate(values):
            box = (column - 0.5, row - 0.5)
            axes.add_patch(_frame(box))
            axes.text(column, row, f"{value:g}", ha="center", va="center", fontsize=9)
    figure.savefig(path, dpi=100)


def _frame(corner: tuple[float, float]) -> object:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 1, 1, fill=False, edgecolor="0.6", linewidth=0.8)


if __name__ == "__main__":
    main()
