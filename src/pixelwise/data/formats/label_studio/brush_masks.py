"""``label-studio-masks``: the brush export of Label Studio, a PNG for each task and label."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.data.formats import NO, Confidence, Format, formats
from pixelwise.data.formats.annotation_files import class_label, labeled_class_map
from pixelwise.data.formats.annotation_search import files_below, split_in_folders
from pixelwise.data.formats.label_studio.brush_rle import PAINTED
from pixelwise.data.formats.shapes import Shape, largest_first, paint_shapes
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.errors import FormatError
from pixelwise.io.images import IMAGE_SUFFIXES, read_image, read_mask_values
from pixelwise.text import listed

MASK_NAME = re.compile(
    r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-(?P<user>\w+)-[^-]+-(?P<label>.+)-\d+"
)
"""Stem of a mask: task, annotation, user, name of the control, label and a number."""

PREFIX = "task-"
"""Beginning of the name of a mask."""

TASK_IMAGE = re.compile(r"(?:task[-_ ]?)?0*(?P<task>\d+)", re.IGNORECASE)
"""Stem of an image that is named after its task."""

MAX_SHOWN = 4
"""Number of names in a message."""


class _Masks(NamedTuple):
    """The masks of a task: by the number of the annotation."""

    task: int
    by_annotation: Mapping[int, list[Path]]

    @property
    def latest(self) -> list[Path]:
        return self.by_annotation[max(self.by_annotation)]


@formats.register("label-studio-masks")
class LabelStudioMasks(Format):
    """``task-1-annotation-2-by-1-tag-LABEL-0.png`` anywhere, and images named after the tasks.

    Masks of one label are united, smaller labels cover larger ones, and of several annotations of a
    task the latest counts. The files do not say which image a task is of: images must be called
    ``task-1`` or ``1``, unless there is only one of each. The JSON export names them.
    """

    name: ClassVar[str] = "label-studio-masks"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    layout: ClassVar[str] = "task-1-annotation-2-by-1-tag-LABEL-0.png + images/task-1.*"

    def detect(self, folder: Path) -> Confidence:
        """Certain if files are called as Label Studio calls masks, unless the JSON is there."""
        # Plain names: making paths of 100,000 images takes ten times as long.
        for _, _, names in os.walk(folder):
            for name in names:
                if name.startswith(PREFIX) and MASK_NAME.fullmatch(Path(name).stem):
                    return Confidence(0.92, f"masks of Label Studio such as {name}")
        return NO

    def records(self, folder: Path) -> list[Record]:
        """Return one record per task."""
        tasks, images = _files(folder)
        if not tasks:
            raise FormatError(f"{folder} must contain {self.layout}. Got none. Check the path")
        by_task: dict[int, Path] = {}
        for path in images:
            named = TASK_IMAGE.fullmatch(path.stem)
            if named:
                by_task.setdefault(int(named["task"]), path)
        if len(tasks) == len(images) == 1:
            by_task = {tasks[0].task: images[0]}
        records = []
        for masks in tasks:
            image = by_task.get(masks.task)
            if image is None:
                error = FormatError(
                    f"{masks.latest[0]} must have the image of its task, task-{masks.task}.*. "
                    f"Got {listed([path.name for path in images], MAX_SHOWN) or 'no image'}. Name "
                    "the images after their tasks, or use the JSON export, which names them"
                )
                report_problem("mask-without-image", error, masks.latest[0])
                continue
            name = image.relative_to(folder).with_suffix("").as_posix()
            split = split_in_folders(image.relative_to(folder).parts[:-1])
            records.append(Record(name, image, tuple(masks.latest), split))
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  only for formats with stored values
    ) -> ClassMap:
        """Return background for multiclass labels, then the labels by name."""
        labels = sorted({_label_of(path) for record in records for path in record.masks})
        return labeled_class_map(labels, self.label_mode, folder)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and paint the masks of its labels."""
        image = read_image(record.image)
        by_label: dict[str, list[Shape]] = defaultdict(list)
        for path in record.masks:
            values = read_mask_values(path)
            check_same_size(record.image, image, path, values)
            label = _label_of(path)
            shape = Shape(class_label(label, class_map), bitmap=values >= PAINTED)
            by_label[label].append(shape)
        size = (image.shape[0], image.shape[1])
        shapes = largest_first(by_label.values())
        mask = paint_shapes(shapes, size, class_map, self.label_mode, record.masks[0])
        return Sample(record.name, image, mask, self.label_mode)

    def remarks(self, records: Sequence[Record]) -> list[str]:
        """Say that only the latest annotation of a task counts, if there are several."""
        homes = {path.parent for record in records for path in record.masks}
        tasks = _tasks(path for home in sorted(homes) for path in home.glob(f"{PREFIX}*"))
        several = sum(len(masks.by_annotation) > 1 for masks in tasks)
        return [f"tasks of which the latest annotation counts: {several:,}"] if several else []


def _files(folder: Path) -> tuple[list[_Masks], list[Path]]:
    """Return the masks of all tasks, and the other images."""
    paths = list(files_below(folder, IMAGE_SUFFIXES))
    images = [path for path in paths if not MASK_NAME.fullmatch(path.stem)]
    return _tasks(paths), images


def _tasks(paths: Iterable[Path]) -> list[_Masks]:
    found: dict[int, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(paths):
        match = MASK_NAME.fullmatch(path.stem)
        if match:
            found[int(match["task"])][int(match["annotation"])].append(path)
    return [_Masks(task, dict(masks)) for task, masks in sorted(found.items())]


def _label_of(path: Path) -> str:
    match = MASK_NAME.fullmatch(path.stem)
    assert match
    return match["label"]
