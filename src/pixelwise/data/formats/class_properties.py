"""Finds the property that gives the class of each shape, in files where any name may do so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pixelwise.errors import FormatError
from pixelwise.text import listed

Properties = Mapping[str, Any]
"""The properties of a shape, with texts, numbers, or further properties."""

STANDARD = ("class", "class_name", "label", "category")
"""The first of these properties that a shape has, in any case, gives its class."""

USUAL = ("classification.name", "landuse", "landcover", "land_use", "land_cover")
"""Further names that leave no doubt: that of QuPath, and those of land use."""

ONE_CLASS = "none"
"""The name of the property if all shapes are of one class."""

MAX_VALUES = 64
"""A text property of more values than this names the shapes and not their classes."""

MIN_SHARE = 0.5
"""A property tells classes only if at least this share of the shapes have it."""

MAX_EXAMPLES = 4
"""Number of values that a message names."""


def find_class_property(
    shapes: Sequence[Properties], origin: object, *, are_attributes: bool = False
) -> str | None:
    """Return the name of the property that tells the classes apart.

    Args:
        shapes: The properties of all shapes of a data set.
        origin: The data set, for messages.
        are_attributes: Whether people defined the properties for labeling: then a single one gives
            the class, whatever its values, and it may have only one value.

    Returns:
        A name with dots between the levels; ``None`` if the standard names tell it, or if no
        property does.

    Raises:
        FormatError: Several properties could give the class.
    """
    values: dict[str, Counter[str]] = {}
    for shape in shapes:
        for name, value in _words(shape):
            values.setdefault(name, Counter())[value] += 1
    if any(name.lower() in STANDARD for name in values):
        return None
    enough = MIN_SHARE * len(shapes)
    for usual in USUAL:
        for name, counts in values.items():
            if name.lower() == usual and (usual == USUAL[0] or counts.total() >= enough):
                return name
    if are_attributes:
        single = _without_repeats(shapes, [n for n in values if values[n].total() >= enough])
        if len(single) == 1 and len(values[single[0]]) <= MAX_VALUES:
            return single[0]
        values = {name: values[name] for name in single}
    likely = {
        name: counts
        for name, counts in values.items()
        if 2 <= len(counts) <= min(MAX_VALUES, counts.total() / 2) and counts.total() >= enough
    }
    if len(likely) > 1:
        seen = "; ".join(f"{name} ({_shown(counts)})" for name, counts in likely.items())
        choices = " or ".join(f"`class_property={name}`" for name in (*likely, ONE_CLASS))
        raise FormatError(
            f"{origin} must have one property that gives the class of a shape. Got {seen}. Choose "
            f"one with {choices}, which makes all shapes one class"
        )
    return next(iter(likely), None)


def class_of(shape: Properties, name: str | None, where: str) -> str | None:
    """Return the class that a property of a shape gives; ``None`` if there is none.

    Args:
        shape: The properties.
        name: The property, with dots between the levels; ``None`` means the standard names.
        where: The shape, for messages.

    Raises:
        FormatError: The value is neither a word nor a whole number.
    """
    if name == ONE_CLASS:
        return None
    lowered = {key.lower(): key for key in shape}
    for candidate in STANDARD if name is None else (name,):
        value = shape.get(lowered.get(candidate.lower(), candidate))
        if value is None and "." in candidate:
            value = _inside(shape, candidate)
        if value is None or value == "":
            continue
        word = _word(value)
        if word is None:
            raise FormatError(
                f"{where} must give its class as a word or a whole number in {candidate!r}. "
                f"Got {str(value)[:40]!r}. Fix the property"
            )
        if word:
            return word
    return None


def chosen_property(
    name: str | None, shapes: Sequence[Properties], labels: Sequence[str], one_class: str
) -> str | None:
    """Say which property gives the classes, or that all shapes are one class.

    Args:
        name: As for :func:`class_of`.
        shapes: The properties of all shapes.
        labels: The classes that were found.
        one_class: The class of shapes without one.
    """
    if not shapes:
        return None
    if name is not None and name != ONE_CLASS:
        return f"classes are the values of {name}: {listed(labels, MAX_EXAMPLES)}"
    if set(labels) <= {one_class}:
        names = listed(sorted({key for shape in shapes for key in shape}), MAX_EXAMPLES)
        rest = f" (there are {names}; `class_property` takes one)" if names else ""
        return f"all shapes are {one_class}: no property tells their classes{rest}"
    return None


def _words(shape: Properties) -> Iterator[tuple[str, str]]:
    """Yield the properties that hold text, those of two levels with a dot."""
    for name, value in shape.items():
        if isinstance(value, str) and value.strip():
            yield name, value.strip()
        elif name.lower() in STANDARD and value is not None and value != "":
            yield name, str(value)  # a number, or what class_of refuses
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                if isinstance(inner, str) and inner.strip():
                    yield f"{name}.{key}", inner.strip()


def _without_repeats(shapes: Sequence[Properties], names: Sequence[str]) -> list[str]:
    """Return names of properties, of those with the same values at all shapes only the last."""
    last = {tuple(str(_inside(shape, name)) for shape in shapes): name for name in names}
    return list(last.values())


def _inside(shape: Properties, name: str) -> Any:
    """Return the value at a dotted name; ``None`` if there is none."""
    value: Any = shape
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = next((inner for key, inner in value.items() if key.lower() == part.lower()), None)
    return value


def _word(value: object) -> str | None:
    """Return a word or a whole number as text; ``None`` for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some tables store whole numbers as floats
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip()


def _shown(counts: Counter[str]) -> str:
    return listed([value[:40] for value, _ in counts.most_common()], MAX_EXAMPLES)
