"""A clean data set that the doctor's tests damage, and what a data set is damaged with."""

import numpy as np
from PIL import Image

SIZE = 64
BOX = 24


def photograph(rng, size=SIZE):
    """Soft blobs of color, uint8 (size, size, 3): no two of them look alike."""
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def boxes(rng, values=(0, 1, 2), size=SIZE):
    """A mask of two boxes of equal size, in the upper and in the lower half."""
    mask = np.full((size, size), values[0], np.uint8)
    for number, value in enumerate(values[1:]):
        top, left = 4 + number * 32, int(rng.integers(2, size - BOX - 2))
        mask[top : top + BOX, left : left + BOX] = value
    return mask


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)


def make_clean(folder, values=(0, 1, 2), card=None):
    """train/ and val/ with 6 images each, and index masks of three classes."""
    rng = np.random.default_rng(7)
    for split in ("train", "val"):
        for number in range(6):
            name = f"{split}/{{}}/{number:03}.png"
            save(folder / name.format("images"), photograph(rng))
            save(folder / name.format("masks"), boxes(rng, values))
    if card:
        (folder / "dataset.yaml").write_text(card)
    return folder
