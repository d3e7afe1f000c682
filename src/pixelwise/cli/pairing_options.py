"""Options that say which files are images and which are their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import typer

Choice = TypeVar("Choice", bound=str)

ImagesTemplate = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="Template of the images, such as 'images/{name}.*', if they are not found; with "
        "--masks.",
        metavar="TEMPLATE",
    ),
]
MasksTemplate = Annotated[
    str | None,
    typer.Option(
        "--masks",
        help="Template of their masks, such as 'masks/{name}_mask.png'.",
        metavar="TEMPLATE",
    ),
]
UnlabeledImages = Annotated[
    str | None,
    typer.Option(
        "--unlabeled",
        help="What to do with images without a mask: error, skip or background. [default: error]",
    ),
]
ResizedMasks = Annotated[
    str | None,
    typer.Option(
        "--resize-masks",
        help="Resize masks of another size than their images: nearest. [default: an error]",
    ),
]


def pairing_options(
    images: str | None, masks: str | None, unlabeled: str | None, resize_masks: str | None
) -> dict[str, Any]:
    """Return the options as arguments of :func:`pixelwise.open_dataset`.

    Raises:
        UnknownNameError: A choice is unknown.
    """
    from pixelwise.classes import RESAMPLINGS, UNLABELED

    return {
        "images": images,
        "masks": masks,
        "unlabeled": one_of(UNLABELED, "--unlabeled", unlabeled),
        "resize_masks": one_of(RESAMPLINGS, "--resize-masks", resize_masks),
    }


def one_of(known: Sequence[Choice], option: str, text: str | None) -> Choice | None:
    """Return the choice that a text names; ``None`` for no text.

    Raises:
        UnknownNameError: The choice is unknown.
    """
    from pixelwise.errors import UnknownNameError

    for choice in known:
        if choice == text:
            return choice
    if text is None:
        return None
    raise UnknownNameError(option, text, known)
