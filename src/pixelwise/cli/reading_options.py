"""The options that say how labels are read, the same for every command that opens a data set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

Labels = dict[str, Any]
"""The options that were given, as keyword arguments of :func:`pixelwise.open_dataset`."""

OPTIONS: dict[str, Any] = {
    "format": Annotated[
        str | None,
        typer.Option(
            help="The label format, if it is not detected; see: pixelwise data formats.",
        ),
    ],
    "ignore": Annotated[
        list[int] | None,
        typer.Option(help="A mask value that is ignored; may be repeated."),
    ],
    "ignore_mask": Annotated[
        str | None,
        typer.Option(
            help="Template of pictures that are 0 where pixels are ignored, such as "
            "'fov/{name}.png' for a field of view.",
            metavar="TEMPLATE",
        ),
    ],
    "label_mode": Annotated[
        str | None,
        typer.Option(
            help="multiclass or multilabel, for formats that can be read in both modes; see: "
            "pixelwise data formats.",
        ),
    ],
    "unexpected": Annotated[
        str | None,
        typer.Option(
            help="What to do with mask values that are neither a class nor ignored: error, nearest "
            "(class) or ignore. [default: error]",
        ),
    ],
    "images": Annotated[
        str | None,
        typer.Option(
            help="Template of the images, such as 'images/{name}.*', if they are not found; with "
            "--masks.",
            metavar="TEMPLATE",
        ),
    ],
    "masks": Annotated[
        str | None,
        typer.Option(
            help="Template of their masks, such as 'masks/{name}_mask.png'.", metavar="TEMPLATE"
        ),
    ],
    "unlabeled": Annotated[
        str | None,
        typer.Option(
            help="What to do with images without a mask: error, skip or background. "
            "[default: error]",
        ),
    ],
    "resize_masks": Annotated[
        str | None,
        typer.Option(
            help="Resize masks of another size than their images: nearest. [default: an error]",
        ),
    ],
    "class_property": Annotated[
        str | None,
        typer.Option(
            help="The property of shapes that gives their class, such as landuse or "
            "classification.name; none: all are one class. [default: it is found]",
            metavar="NAME",
        ),
    ],
    "class_from": Annotated[
        str | None,
        typer.Option(
            help="What gives the class of the objects in masks of one class: folder, the folder of "
            "their image. [default: the masks]",
        ),
    ],
    "buffer": Annotated[
        float | None,
        typer.Option(
            help="Paint the points and lines of GeoJSON with this half width, in units of the "
            "raster's reference system, or pixels without one. [default: they are left out]",
            metavar="UNITS",
        ),
    ],
    "max_bad_annotations": Annotated[
        float | None,
        typer.Option(
            help="Share of the annotations that may be left out because they cannot be used, such "
            "as boxes among polygons. [default: 0.05]",
            metavar="SHARE",
        ),
    ],
}
"""The option of each entry of :class:`pixelwise.label_options.LabelOptions`."""


def takes_label_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``OPTIONS`` in place of its keyword argument ``labels``."""
    signature = inspect.signature(command, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        kept = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += _parameters() if parameter.name == "labels" else [kept]

    def with_labels(*given: Any, **arguments: Any) -> None:
        labels = _checked({name: arguments.pop(name, None) for name in OPTIONS})
        command(*given, **arguments, labels=labels)

    with_labels.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_labels.__annotations__ = {one.name: one.annotation for one in parameters}
    with_labels.__name__, with_labels.__doc__ = command.__name__, command.__doc__
    with_labels.__module__ = command.__module__
    return with_labels


def _parameters() -> list[inspect.Parameter]:
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in OPTIONS.items()
    ]


def _checked(given: Labels) -> Labels:
    """Return the options that were given.

    Raises:
        UnknownNameError: A choice is unknown.
    """
    from pixelwise.classes import CLASS_SOURCES, LABEL_MODES, RESAMPLINGS, UNEXPECTED, UNLABELED
    from pixelwise.errors import UnknownNameError

    choices: dict[str, Sequence[str]] = {
        "label_mode": LABEL_MODES,
        "unexpected": UNEXPECTED,
        "unlabeled": UNLABELED,
        "resize_masks": RESAMPLINGS,
        "class_from": CLASS_SOURCES,
    }
    for name, known in choices.items():
        if given[name] not in (None, *known):
            raise UnknownNameError(f"--{name.replace('_', '-')}", given[name], known)
    return {name: value for name, value in given.items() if value is not None}
