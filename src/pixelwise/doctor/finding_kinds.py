"""All kinds of findings with their severity, title and advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Severity = Literal["refused", "harmful", "notable"]
"""``refused``: must be fixed first, because training stops or would learn from wrong data.
``harmful``: training runs, but learns or measures something wrong. ``notable``: worth knowing;
pixelwise handles it."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        severity: How harmful it is.
        title: A heading; the number of cases is appended.
        advice: What pixelwise does by itself, or what the user should do.
    """

    severity: Severity
    title: str
    advice: str


CATALOG: Mapping[str, Kind] = {
    # Must be fixed first.
    "unknown-layout": Kind(
        "refused",
        "The folder cannot be read as labeled images",
        "Do what the message proposes, or name the format with `format`",
    ),
    "unreadable-labels": Kind(
        "refused",
        "The labels cannot be read",
        "Fix what the message describes",
    ),
    "corrupt-image": Kind(
        "refused",
        "Images that cannot be decoded",
        "Restore or remove the file and its mask",
    ),
    "corrupt-mask": Kind(
        "refused",
        "Masks or label files that cannot be read",
        "Export the file again, or remove it and its image",
    ),
    "image-without-mask": Kind(
        "refused",
        "Images without a mask or labels",
        "Add the mask or the label file, or move the image elsewhere",
    ),
    "mask-without-image": Kind(
        "refused",
        "Masks or labels without an image",
        "Add the image, or move the file elsewhere",
    ),
    "paired-twice": Kind(
        "refused",
        "Images or masks of which exactly one file is expected",
        "Keep one file for each",
    ),
    "unlike-parts": Kind(
        "refused",
        "Volumes or stacks that cannot be read, or that do not correspond to their masks",
        "Export the mask on the grid of its image, or remove both",
    ),
    "listed-twice": Kind(
        "refused",
        "Images that are listed more than once",
        "Keep each image in one list",
    ),
    "listed-file-missing": Kind(
        "refused",
        "Lists that name missing files",
        "Fix the list or add the file",
    ),
    "split-not-given": Kind(
        "refused",
        "Images without a split although other images have one",
        "Name their folder, subset or list after a split, or write a card with pixelwise data "
        "split",
    ),
    "lossy-mask-file": Kind(
        "refused",
        "Masks in a format that alters values, such as JPEG",
        "Export the masks as PNG; JPEG has permanently altered the values",
    ),
    "orientation-mismatch": Kind(
        "refused",
        "Images and masks in different orientations: one is rotated by 90°",
        "Save the image upright without EXIF rotation, or draw the mask on the upright image",
    ),
    "size-mismatch": Kind(
        "refused",
        "Masks whose size differs from that of their image",
        "Export the mask again at the image's size",
    ),
    "colors-in-index-masks": Kind(
        "refused",
        "Masks with colors where class numbers are expected",
        "Save index or grayscale masks, or name the colors of the classes in a dataset.yaml with "
        "the format color-masks",
    ),
    "mixed-mask-storage": Kind(
        "refused",
        "Masks that store numbers among masks that store colors, or vice versa",
        "Save all masks in the same way; the few that differ were probably exported by mistake",
    ),
    "gray-levels": Kind(
        "refused",
        "Masks of continuous gray without distinct class values",
        "Export the masks as class numbers, without smoothing",
    ),
    "color-levels": Kind(
        "refused",
        "Masks of continuous color without distinct class colors",
        "Export the masks with one color per class, without smoothing or JPEG",
    ),
    "white-is-no-class": Kind(
        "refused",
        "Masks with 255 where the class map expects 1",
        "Set 'value: 255' for that class in dataset.yaml",
    ),
    "anti-aliased-masks": Kind(
        "refused",
        "Masks with smoothed edges: in-between values along the borders of the regions",
        "'unexpected: nearest' in dataset.yaml assigns each such pixel the nearest class, "
        "'unexpected: ignore' turns them into an ignored border",
    ),
    "jpeg-damaged-masks": Kind(
        "refused",
        "Masks damaged by JPEG: values scattered around the class values",
        "'unexpected: nearest' in dataset.yaml assigns each such pixel the nearest class, "
        "'unexpected: ignore' ignores them; exporting again without JPEG is better",
    ),
    "unexpected-values": Kind(
        "refused",
        "Masks with values or colors that are neither a class nor ignored",
        "Fix the mask, list the value in dataset.yaml as a class or under ignore, or set "
        "'unexpected: nearest' or 'unexpected: ignore'",
    ),
    "label-refused": Kind(
        "refused",
        "Images whose labels cannot be used",
        "See the message for each file",
    ),
    "too-many-bad-annotations": Kind(
        "refused",
        "More annotations that cannot be used than are accepted",
        "Export the labels again as segmentation, or accept the share with `max_bad_annotations`",
    ),
    "mixed-depths": Kind(
        "refused",
        "Images of several bit depths",
        "Convert all images to one bit depth",
    ),
    "mixed-channels": Kind(
        "refused",
        "Images whose numbers of channels cannot be combined",
        "Convert all images to the same number of channels; only grayscale and color images can "
        "be combined",
    ),
    "too-few-bands": Kind(
        "refused",
        "Images with fewer bands than the dataset card selects",
        "Fix the bands in the card, or leave these images out",
    ),
    "no-images-to-compare": Kind(
        "refused",
        "No images for training, or none for validation",
        "Add labeled images; a single large scene can be cut into several files",
    ),
    "nothing-to-learn": Kind(
        "refused",
        "Training masks with nothing to learn",
        "Check the masks and the ignore value",
    ),
    # Training runs, but learns or measures something wrong.
    "white-read-as-ignored": Kind(
        "harmful",
        "Masks where 255 is read as ignored and class 1 never occurs: 255 probably means 1",
        "Set 'value: 255' for that class and 'ignore: []' in dataset.yaml",
    ),
    "mask-in-alpha": Kind(
        "harmful",
        "Masks that are blank except for their alpha channel",
        "pixelwise reads gray values and not alpha: save the alpha channel as the mask",
    ),
    "duplicates-across-splits": Kind(
        "harmful",
        "Identical images in several splits: metrics come out too high",
        "Keep each image in one split",
    ),
    "near-duplicates-across-splits": Kind(
        "harmful",
        "Nearly identical images in several splits: metrics come out too high",
        "Keep similar images in one split: pixelwise data split DATA --out split.yaml",
    ),
    "sequence-across-splits": Kind(
        "harmful",
        "Sequences or scenes, by their names, that are divided between splits: metrics come out "
        "too high",
        "If neighboring frames or tiles are similar, keep each sequence in one split: pixelwise "
        "data split DATA --group-by REGEX --out split.yaml",
    ),
    "contradictory-masks": Kind(
        "harmful",
        "Identical images with different masks",
        "Keep the correct mask of each image",
    ),
    "value-gaps": Kind(
        "harmful",
        "Masks with a value far from the others, which creates classes in between",
        "Name the classes in a dataset.yaml, or fix the value",
    ),
    "bad-annotations": Kind(
        "harmful",
        "Annotations that cannot be used and are left out",
        "Fix them in the labeling tool: their objects are background until then",
    ),
    "hidden-shapes": Kind(
        "harmful",
        "Shapes that other shapes cover by more than half",
        "If both classes hold there, read the labels as multilabel ('label_mode: multilabel' in "
        "dataset.yaml); otherwise fix the order or the outlines in the labeling tool",
    ),
    "all-ignored": Kind(
        "harmful",
        "Images where every pixel is ignored",
        "Nothing is learned from them: label them or leave them out, and check the ignore value",
    ),
    "class-never-present": Kind(
        "harmful",
        "Classes that no mask shows",
        "Remove them from the class map, or add images that show them",
    ),
    "class-missing-in-train": Kind(
        "harmful",
        "Classes that occur in validation or test but not in training",
        "Move images between the splits, so that training shows every class",
    ),
    "constant-images": Kind(
        "harmful",
        "Images of a single color",
        "Check them: the export may have failed",
    ),
    "self-intersecting-polygons": Kind(
        "harmful",
        "Images with polygons that cross themselves",
        "pixelwise fills polygons by the even-odd rule, so crossed parts become holes; fix them",
    ),
    "polygons-outside-image": Kind(
        "harmful",
        "Images with polygons that extend beyond the image",
        "pixelwise clips them at the border; many, or far outside, suggest another image size",
    ),
    # Worth knowing.
    "unexpected-decided": Kind(
        "notable",
        "Masks with values that are not classes, which get the nearest class or are ignored",
        "Check the marked pixels",
    ),
    "black-and-white-masks": Kind(
        "notable",
        "Masks of 0 and 255, read as background and foreground",
        "No action needed; a dataset.yaml can name the two classes",
    ),
    "alpha-in-masks": Kind(
        "notable",
        "Masks with an alpha channel",
        "pixelwise ignores alpha and reads the values below it",
    ),
    "class-hardly-present": Kind(
        "notable",
        "Classes that hardly occur",
        "Expect poor results for them, or add images that show them",
    ),
    "class-missing-in-validation": Kind(
        "notable",
        "Classes that do not occur in validation or test",
        "The mean over classes there excludes them; move or add images to evaluate them",
    ),
    "class-balance": Kind(
        "notable",
        "Classes whose share differs strongly between the splits",
        "The metrics of the splits cannot be compared; draw the splits again",
    ),
    "empty-masks": Kind(
        "notable",
        "Images without any object",
        "This is fine if they really show none; check whether objects were missed",
    ),
    "regions-below-stride": Kind(
        "notable",
        "Images with regions smaller than 16 px, the stride of most networks",
        "Networks blur such small regions: train at full scale (`data.scale=1`) and with a "
        "model of small stride, such as stacked-fcn or dilated",
    ),
    "eight-bits-in-sixteen": Kind(
        "notable",
        "Images of 16 bits that use only 8",
        "Harmless, because pixelwise normalizes images; for the full bit depth, export them again",
    ),
    "near-black-images": Kind(
        "notable",
        "Images that are almost black",
        "Check them; `data.contrast=stretch` spreads each image over the whole range",
    ),
    "duplicates-within-split": Kind(
        "notable",
        "Identical images within one split",
        "They count several times; keep one of each",
    ),
    "exif-rotation": Kind(
        "notable",
        "Images with an EXIF rotation",
        "pixelwise turns them upright; check that their masks were drawn on the upright images",
    ),
}
"""Sorted by severity. Names are stable, because scripts depend on them."""
