"""Writes a draft of a dataset card with the results of a data check as comments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pixelwise.classes import Unexpected
from pixelwise.data.card import card_of
from pixelwise.doctor.examination import Examination
from pixelwise.doctor.mask_checks import ClassRow
from pixelwise.errors import DataError, OutputError
from pixelwise.files import write_text
from pixelwise.text import amount

SMEARED = ("anti-aliased-masks", "jpeg-damaged-masks")
"""Findings that the nearest class fixes; for other unexpected values, a person has to decide."""


def require_new_card(target: Path) -> None:
    """Check that a card to write does not exist: it could be one that a person has corrected.

    Raises:
        OutputError: It exists.
    """
    if target.exists():
        raise OutputError(f"{target} must be a new file. It exists. Choose another name")


def write_card(examination: Examination, target: Path) -> None:
    """Write a dataset card to be reviewed, corrected and used as DATA.

    Args:
        examination: The result of a check with known or guessed classes.
        target: The file; it must not exist.

    Raises:
        DataError: The layout or the classes are unknown.
        OutputError: The file exists, or cannot be written.
    """
    dataset = examination.dataset
    if dataset is None:
        raise DataError(
            f"{examination.path} must have a known layout and known classes for a card to be "
            "written. Fix the refused findings first"
        )
    require_new_card(target)
    folder = os.path.relpath(dataset.path, target.parent)
    unexpected, reason = _rule_for_unexpected(examination)
    card = card_of(
        dataset.class_map,
        path=Path(folder).as_posix(),
        format=dataset.format.name,
        label_mode=dataset.label_mode,
        max_bad_annotations=dataset.max_bad_annotations,
        ignore_mask=dataset.ignore_mask,
        split=dataset.drawn_split,
        **{**dataset.format.card_entries(), **({"unexpected": unexpected} if unexpected else {})},
    )
    content = card.model_dump(mode="json", exclude_none=True)
    comments = {
        "path": "relative to this file",
        "format": next((note for note in dataset.notes if note.startswith("format ")), ""),
        "ignore": "values that are ignored in the loss and the metrics",
        "ignore_mask": "pictures that are 0 where pixels are ignored",
        "images": "templates of the images and of their masks; {name} is what they share",
        "unlabeled": "what becomes of images without a mask",
        "class_from": "folders give the classes of the masks",
        "resize_masks": "masks of another size than their images are resized",
        "buffer": "half width of points and lines, in units of the raster",
        "unexpected": reason,
        "split": f"the folder has no splits: train/val/test are drawn, seed {dataset.split_seed}",
    }
    blocks = [*_heading(examination)]
    for key, value in content.items():
        blocks.append("")
        if key == "classes":
            blocks += _classes(examination, value)
            continue
        blocks += [f"# {line}" for line in [comments.get(key, "")] if line]
        blocks.append(_yaml({key: value}))
    if dataset.drawn_split is None:
        blocks += ["", f"# splits: {_counts(examination)}, as given by the folder"]
    write_text(target, "\n".join(blocks) + "\n")


def _heading(examination: Examination) -> Iterator[str]:
    yield "# Dataset card, written by `pixelwise data check`. Review it, correct it, and use it"
    yield "# as DATA: pixelwise train THIS-FILE"
    yield f"# {_counts(examination)} images"
    for finding in examination.findings:
        yield f"# {finding.severity}: {_one_line(finding.title)} [{finding.kind}]"


def _classes(examination: Examination, entries: list[dict[str, Any]]) -> Iterator[str]:
    if examination.is_guessed:
        yield "# A guess: the values that stand out in the masks. Replace the names."
    yield "classes:"
    for entry, row in zip(entries, examination.classes, strict=True):
        text = yaml.safe_dump(entry, default_flow_style=True, width=10_000, sort_keys=False)
        yield f"- {text.strip()}  # {_presence(row)}"


def _presence(row: ClassRow) -> str:
    if not any(row.pixels.values()):
        return "in no mask"
    return ", ".join(
        f"{share:.2%} of {split} in {amount(row.images[split], 'image')}"
        for split, share in row.share.items()
    )


def _rule_for_unexpected(examination: Examination) -> tuple[Unexpected | None, str]:
    dataset = examination.dataset
    assert dataset is not None
    if dataset.format.unexpected != "error":
        return dataset.format.unexpected, "as given"
    kinds = {finding.kind: finding for finding in examination.findings}
    for kind in SMEARED:
        if kind in kinds:
            reason = (
                f"{_one_line(kinds[kind].title)}; nearest: each such pixel gets the class with the "
                "nearest value; ignore: it is left out of the loss and the metrics"
            )
            return "nearest", reason
    if "unexpected-values" in kinds:
        title = _one_line(kinds["unexpected-values"].title)
        return "error", f"{title}. Name the value above, or use nearest or ignore"
    return None, ""


def _counts(examination: Examination) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in examination.num_images.items())


def _one_line(text: str) -> str:
    """Put text on one line, so that a file name cannot end the comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip()
