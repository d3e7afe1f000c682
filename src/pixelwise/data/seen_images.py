"""Recognizes images and windows that a model was trained on, by their keys."""

from __future__ import annotations

from collections.abc import Iterable

from pixelwise.data.sample import Record, image_key
from pixelwise.io.arrays import Window


class SeenImages:
    """The images of some keys; ``record in seen`` asks for a record, under any name.

    A window has been seen if any of its pixels has: the windows of a scene change with the card and
    with its labels.

    Args:
        keys: Values of :attr:`Record.key`.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._whole: set[str] = set()
        self._windows: dict[str, list[Window]] = {}
        for key in keys:
            image, _, place = key.partition(" ")
            if place:
                top, left, height, width = map(int, place.split(" "))
                self._windows.setdefault(image, []).append((top, left, height, width))
            else:
                self._whole.add(image)

    def __contains__(self, record: Record) -> bool:
        image = image_key(record)
        if image in self._whole:
            return True
        windows = self._windows.get(image, [])
        window = record.window
        return any(window is None or _overlap(window, other) for other in windows)


def _overlap(one: Window, other: Window) -> bool:
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )
