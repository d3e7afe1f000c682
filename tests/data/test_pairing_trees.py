"""Random trees of images and masks: the right pairs or a question, never wrong pairs."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.pairing.readings import find_readings
from pixelwise.pairing.tree import list_tree

IMAGE_AFFIXES = ("", "", "_image", "_img", "-rgb", "_sat", "image_", "IMG", "photo-")
MASK_AFFIXES = ("", "_mask", "-mask", "--av", "_GT", "_label", "mask_", "gt", "_L", "_seg_v2")
IMAGE_FOLDERS = ("images", "Images", "JPEG", "original_images", "data/img", "x-ray", "")
MASK_FOLDERS = ("masks", "Masks", "labels_png", "data/gt", "SegmentationClass", "gt", "")
DEEPER = ("", "{part}", "{split}", "a/{part}")
DECOYS = ("thumbs", "preview", "overlay", "system", "annotator", "unlabeled")


@dataclass(frozen=True)
class Tree:
    """A tree to write: the paths of images and of masks, and what lies beside them."""

    names: tuple[str, ...]
    image_affix: str
    mask_affix: str
    image_folder: str
    mask_folder: str
    deeper: str
    is_padded: bool
    is_lower: bool
    decoys: frozenset[str]

    def path(self, folder, affix, number, name, ending):
        """The path of one file; an affix that begins with a letter is a prefix."""
        parts = {"part": f"subject{number % 2}", "split": ("train", "test")[number % 2]}
        stem = affix + name if affix[:1].isalpha() else name + affix
        return Path(folder, self.deeper.format(**parts), stem + ending)

    def pairs(self):
        """The image and the mask of each name."""
        for number, name in enumerate(self.names):
            mask_name = name.lower() if self.is_lower else name
            mask_name = f"0{mask_name}" if self.is_padded else mask_name
            yield (
                self.path(self.image_folder, self.image_affix, number, name, ".jpg"),
                self.path(self.mask_folder, self.mask_affix, number, mask_name, ".png"),
            )


@st.composite
def trees(draw):
    kind = draw(st.sampled_from(("numbers", "words", "mixed")))
    count = draw(st.integers(2, 7))
    names = {
        "numbers": [str(number * 7 + 3) for number in range(count)],
        "words": ["Paris", "Rome", "Oslo", "Bern", "Riga", "Graz", "Lodz"][:count],
        "mixed": [f"{number + 1}_site{number % 3}_B" for number in range(count)],
    }[kind]
    mask_affix = draw(st.sampled_from(MASK_AFFIXES))
    return Tree(
        tuple(names),
        draw(st.sampled_from(IMAGE_AFFIXES)),
        mask_affix,
        draw(st.sampled_from(IMAGE_FOLDERS)),
        draw(st.sampled_from(MASK_FOLDERS)),
        draw(st.sampled_from(DEEPER)),
        kind == "numbers" and draw(st.booleans()),
        # In gtparis, nothing shows where the name begins.
        kind == "words" and mask_affix != "gt" and draw(st.booleans()),
        draw(st.frozensets(st.sampled_from(DECOYS), max_size=2)),
    )


class Writer:
    """Writes pictures below a folder: images are noise, and masks have two values."""

    def __init__(self, root, seed):
        self.root = root
        self.random = np.random.default_rng(seed)

    def save(self, path, pixels):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(self.root / path)

    def photo(self, path, size=24):
        self.save(path, self.random.integers(0, 255, (size, size, 3), np.uint8))

    def mask(self, path, size=24):
        pixels = np.zeros((size, size), np.uint8)
        top, left = self.random.integers(0, size // 2, 2)
        pixels[top : top + size // 3, left : left + size // 3] = 255
        self.save(path, pixels)

    def decoys(self, tree, number, image, labels):
        """Write what lies beside one pair."""
        name = image.stem
        pictures = {
            "thumbs": [(Path("thumbnails", f"{name}.jpg"), 8)],
            "preview": [(image.with_name(f"{name}_preview.jpg"), 24)],
            "overlay": [(Path("overlays", f"{name}.png"), 24)],
            "unlabeled": [(Path("unlabeled", f"other{number}.jpg"), 24)],
            "system": [(Path("__MACOSX", "images", "1.jpg"), 24)],
        }
        for decoy in sorted(tree.decoys & pictures.keys()):
            for path, size in pictures[decoy]:
                self.photo(path, size)
        if "annotator" in tree.decoys:
            self.mask(Path("second", labels.name))


def write(root, tree, seed):
    """Write the tree and return its pairs."""
    writer, pairs = Writer(root, seed), list(tree.pairs())
    for number, (image, labels) in enumerate(pairs):
        writer.photo(image)
        writer.mask(labels)
        writer.decoys(tree, number, image, labels)
    if "system" in tree.decoys:
        for name in (".DS_Store", "Thumbs.db", "._x.png"):
            (root / name).write_bytes(b"x")
    return {(image.as_posix(), labels.as_posix()) for image, labels in pairs}


@settings(
    max_examples=100, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(trees(), st.integers(0, 2**16))
def test_a_random_tree_is_paired_right_or_asked_about(tree, seed):
    with tempfile.TemporaryDirectory() as folder:
        wanted = write(Path(folder), tree, seed)
        if len({path for pair in wanted for path in pair}) < 2 * len(wanted):
            return
        found = find_readings(list_tree(Path(folder)))
        if found.only is not None:
            got = {(pair.image, pair.mask) for pair in found.only.pairs.pairs}
            assert got == wanted, (tree, found.only.in_words)
        elif not tree.decoys & {"annotator"}:
            offered = [{(p.image, p.mask) for p in one.pairs.pairs} for one in found.readings]
            assert wanted in offered, (tree, [one.in_words for one in found.readings])
