"""Finds one file of all images beside one file of all masks, such as ``images.npy``, ``masks.npy``.

Their names have nothing in common, so only the words in them tell what they hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pixelwise.io.members import CONTAINER_ENDINGS, STACK_ENDINGS, split_ending
from pixelwise.pairing.families import Candidate
from pixelwise.pairing.roles import role_of

MAX_FILES = 12
"""Of more files, each holds a part of the data, so that their names correspond."""

LETTERS = {"x": "image", "y": "mask"}
"""Names of arrays by which scikit-learn calls inputs and targets."""


def single_files(paths: Sequence[str]) -> list[Candidate]:
    """Return the pairs of files, or of arrays in files, that may hold all images and all masks."""
    roles = {path: _role_of(path) for path in paths if _may_be_stack(path)}
    if len(roles) > MAX_FILES:
        return []
    return [
        Candidate(image, mask, ((image, mask),))
        for image, mask in itertools.product(roles, roles)
        if (roles[image], roles[mask]) == ("image", "mask")
    ]


def _may_be_stack(path: str) -> bool:
    ending = split_ending(path)[1].lower()
    return ending.startswith((*CONTAINER_ENDINGS, *STACK_ENDINGS))


def _role_of(path: str) -> str | None:
    """Return the role that the name of a file tells, or else its folders."""
    stem, ending = split_ending(path)
    name = ending.partition("/")[2] or stem.rpartition("/")[2]
    return LETTERS.get(name.lower().partition("_")[0]) or role_of(name) or role_of(stem)
