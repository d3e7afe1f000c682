"""Words in the names of folders and files that tell what they hold; they only break ties."""

from __future__ import annotations

import re

IMAGE_WORDS = (
    "image",
    "img",
    "photo",
    "picture",
    "frame",
    "rgb",
    "raw",
    "original",
    "input",
    "sat",
)
MASK_WORDS = ("mask", "label", "annot", "gt", "ground", "truth", "seg", "target", "lbl", "matte")
"""Beginnings of words for images and for masks."""

DERIVED_WORDS = (
    "overlay", "visuali", "preview", "thumb", "blend", "predict", "result", "heatmap", "depth",
    "dispar", "instance", "object",
)  # fmt: skip
"""Beginnings of words for pictures that are made from images and masks, or that hold another kind
of measurement; objects are numbered, so that their numbers are no classes."""

WHOLE_WORDS = frozenset({"gt", "sat", "seg", "vis", "viz", "pred", "preds", "rgb", "raw"})
"""These words are too short for their beginnings to tell anything."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_VARIABLE = re.compile(r"\{[a-z_]+\}")


def role_of(template: str) -> str | None:
    """Return ``image`` or ``mask`` if the words of a template tell it; ``None`` if not."""
    is_image, is_mask = _has(template, IMAGE_WORDS), _has(template, MASK_WORDS)
    if is_image == is_mask:
        return None
    return "image" if is_image else "mask"


def is_derived(template: str) -> bool:
    """Whether the words of a template say that it is neither an image nor a ground truth."""
    return _has(template, (*DERIVED_WORDS, "vis", "viz", "pred", "preds"))


def _has(template: str, beginnings: tuple[str, ...]) -> bool:
    words = [word.lower() for word in _WORD.findall(_VARIABLE.sub(" ", template))]
    whole = WHOLE_WORDS.intersection(beginnings)
    return any(
        word in whole or word.startswith(tuple(set(beginnings) - WHOLE_WORDS)) for word in words
    )
