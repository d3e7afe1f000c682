"""Image and mask files for the formats that read masks."""

import random

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import PixelwiseError


def _save(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette is not None:
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette([level for color in palette for level in color])
    picture.save(path)
    return path


@pytest.fixture(scope="session")
def save_pixels():
    """Save uint8 pixels, (H, W) or with channels: (path, pixels, palette=None) -> path."""
    return _save


@pytest.fixture(scope="session")
def save_pair():
    """An image and its mask: (folder, stem, mask, **options) -> path of the mask.

    Options: images and masks (folders), ending (of the mask's stem), suffix and palette (of the
    mask).
    """

    def save(folder, stem, mask, *, images="images", masks="masks", ending="", suffix=".png",
             palette=None):  # fmt: skip
        mask = np.asarray(mask, np.uint8)
        _save(folder / images / f"{stem}.png", np.zeros((*mask.shape[:2], 3)))
        return _save(folder / masks / f"{stem}{ending}{suffix}", mask, palette)

    return save


def _is_read(found, folder, class_map):
    try:
        found.detect(folder)
        records = found.records(folder)
        if records:
            found.class_map(folder, records)
        for record in records:
            found.load(record, class_map)
    except PixelwiseError as error:
        message = str(error)
    else:
        return bool(records)
    assert "\n" not in message
    return False


@pytest.fixture(scope="session")
def is_read():
    """Whether a folder is read: (format, folder, class map) -> bool.

    What is refused must be refused by an error of ours, in one line; anything else fails the test.
    """
    return _is_read


def _damaged(content, num_copies):
    rng = random.Random(0)
    for _ in range(num_copies):
        copy = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            copy[rng.randrange(len(copy))] = rng.choice([rng.randrange(256), *b'0-9.,;:[]{}<>&"e'])
        yield bytes(copy[: rng.randint(0, len(copy))] if rng.random() < 0.3 else copy)


@pytest.fixture(scope="session")
def damaged():
    """Copies of a file with bytes changed, some of them cut short: (bytes, count) -> copies."""
    return _damaged
