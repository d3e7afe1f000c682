"""Every kind of finding by name, with its harm and its advice: the one table of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Severity = Literal["refused", "harmful", "notable"]
"""``refused``: it has to be fixed first; a training stops at it, or would learn nonsense.
``harmful``: it trains, and learns or measures something wrong. ``notable``: worth knowing;
pixelwise deals with it."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Kind(NamedTuple):
    """One thing that may be wrong.

    Attributes:
        severity: How harmful it is.
        title: What it is, as a heading; the number of cases stands behind it.
        advice: What pixelwise does by itself, or what to do.
    """

    severity: Severity
    title: str
    advice: str


CATALOG: Mapping[str, Kind] = {
    # What has to be fixed first.
    "unknown-layout": Kind(
        "refused",
        "The folder cannot be read as labeled images",
        "Lay the files as one of the known formats, or name the format with --format",
    ),
    "unreadable-labels": Kind(
        "refused",
        "The labels cannot be read",
        "Fix what the message names",
    ),
    "corrupt-image": Kind(
        "refused",
        "Images that cannot be decoded",
        "Restore or remove the file and its mask",
    ),
    "corrupt-mask": Kind(
        "refused",
        "Masks that cannot be decoded",
        "Export the mask again, or remove the pair",
    ),
    "image-without-mask": Kind(
        "refused",
        "Images without a mask",
        "Add the mask, or move the image elsewhere",
    ),
    "mask-without-image": Kind(
        "refused",
        "Masks without an image",
        "Add the image, or move the mask elsewhere",
    ),
    "doubly-paired": Kind(
        "refused",
        "Several files of one name, where one must be",
        "Keep one file of each name",
    ),
    "doubly-listed": Kind(
        "refused",
        "Images that the lists name more than once",
        "Keep each in one list",
    ),
    "listed-file-missing": Kind(
        "refused",
        "Lists that name files which are not there",
        "Fix the list or add the file",
    ),
    "split-not-said": Kind(
        "refused",
        "Images of which no split is said, though it is of others",
        "Name their folder, subset or list after a split, or write a card with pixelwise data "
        "split",
    ),
    "lossy-mask-file": Kind(
        "refused",
        "Masks in a format that alters values, such as JPEG",
        "Export the masks as PNG; JPEG has changed the values for good",
    ),
    "orientation-mismatch": Kind(
        "refused",
        "Images that lie where their mask stands, or stand where it lies",
        "Save the image upright without EXIF rotation, or draw the mask on the upright image",
    ),
    "size-mismatch": Kind(
        "refused",
        "Masks of another size than their image",
        "Export the mask again at the image's size",
    ),
    "colors-in-index-masks": Kind(
        "refused",
        "Masks of colors where class numbers must be",
        "Save index or grayscale masks, or name the colors of the classes in a dataset.yaml with "
        "the format color-masks",
    ),
    "mixed-mask-storage": Kind(
        "refused",
        "Masks that store numbers among masks that store colors, or the other way round",
        "Save all masks in one way; a few of another kind were likely exported by mistake",
    ),
    "gray-levels": Kind(
        "refused",
        "Masks of continuous gray, in which no values stand out as classes",
        "Export the masks as class numbers, without smoothing",
    ),
    "white-is-no-class": Kind(
        "refused",
        "Masks with 255 where the class map expects 1",
        "Say 'value: 255' for that class in dataset.yaml",
    ),
    "anti-aliased-masks": Kind(
        "refused",
        "Masks with smoothed edges: in-between values along the borders of the regions",
        "'unexpected: nearest' in dataset.yaml gives each such pixel the nearest class, "
        "'unexpected values: ignore' makes them an ignored border",
    ),
    "jpeg-damaged-masks": Kind(
        "refused",
        "Masks damaged by JPEG: values scattered around those of the classes",
        "'unexpected: nearest' in dataset.yaml gives each such pixel the nearest class, "
        "'unexpected values: ignore' leaves them out; exporting again without JPEG is better",
    ),
    "unexpected-values": Kind(
        "refused",
        "Masks with values that are neither a class nor ignored",
        "Fix the mask, name the value in dataset.yaml as a class or under ignore, or say "
        "'unexpected: nearest' or 'unexpected: ignore'",
    ),
    "label-refused": Kind(
        "refused",
        "Images whose labels cannot be used",
        "See what is said of each file",
    ),
    "mixed-depths": Kind(
        "refused",
        "Images of several bit depths",
        "Convert them to one bit depth",
    ),
    "mixed-channels": Kind(
        "refused",
        "Images whose numbers of channels cannot go together",
        "Convert one kind; only grayscale and color go together by themselves",
    ),
    "too-few-bands": Kind(
        "refused",
        "Images with fewer bands than the dataset card asks for",
        "Fix the bands in the card, or leave them out",
    ),
    "no-images-to-compare": Kind(
        "refused",
        "No images to train on, or none to validate with",
        "Add labeled images; a single large scene can be cut into several files",
    ),
    "nothing-to-learn": Kind(
        "refused",
        "Training masks that leave nothing to learn",
        "Check the masks and the ignore value",
    ),
    # What trains, and learns or measures something wrong.
    "white-read-as-ignored": Kind(
        "harmful",
        "Masks where 255 is read as ignored and class 1 never occurs: 255 probably means 1",
        "Say 'value: 255' for that class in dataset.yaml, and 'ignore: []'",
    ),
    "mask-in-alpha": Kind(
        "harmful",
        "Masks that are blank but for a picture in their alpha channel",
        "pixelwise reads gray and not alpha: save the alpha channel as the mask",
    ),
    "duplicates-across-splits": Kind(
        "harmful",
        "Images that lie in several splits, pixel by pixel the same: metrics come out too high",
        "Keep each in one split",
    ),
    "near-duplicates-across-splits": Kind(
        "harmful",
        "Images that look nearly the same in several splits: metrics come out too high",
        "Keep pictures that are alike in one split: pixelwise data split DATA --out split.yaml",
    ),
    "sequence-across-splits": Kind(
        "harmful",
        "Sequences or scenes, by their names, that are cut across splits: metrics come out too "
        "high",
        "Where neighboring frames or tiles are alike, keep each sequence in one split: pixelwise "
        "data split DATA --group-by REGEX --out split.yaml",
    ),
    "contradictory-masks": Kind(
        "harmful",
        "Images that are pixel by pixel the same, with different masks",
        "Keep the right mask of each",
    ),
    "value-gaps": Kind(
        "harmful",
        "Masks with a value far from the others, so that classes between them are made up",
        "Name the classes in a dataset.yaml, or fix the value",
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
        "Classes that validation or test show and training does not",
        "Move images between the splits, so that training shows every class",
    ),
    "constant-images": Kind(
        "harmful",
        "Images of a single color",
        "Look at them: the export may have failed",
    ),
    "self-intersecting-polygons": Kind(
        "harmful",
        "Images with polygons that cross themselves",
        "pixelwise fills by the even-odd rule, so that a crossed part is a hole; fix the polygon",
    ),
    "polygons-outside-image": Kind(
        "harmful",
        "Images with polygons that leave the image",
        "pixelwise cuts them at the border; many, or far outside, mean coordinates of another size",
    ),
    # What is worth knowing.
    "unexpected-decided": Kind(
        "notable",
        "Masks with values that are no class, dealt with as the card says",
        "Look at the marked pixels, whether that is right",
    ),
    "black-and-white-masks": Kind(
        "notable",
        "Masks of 0 and 255, read as background and foreground",
        "Done by itself; a dataset.yaml may name the two classes",
    ),
    "alpha-in-masks": Kind(
        "notable",
        "Masks with an alpha channel",
        "pixelwise leaves alpha out and reads the values below it",
    ),
    "class-hardly-present": Kind(
        "notable",
        "Classes that are hardly present",
        "Expect little of them, or add images that show them",
    ),
    "class-missing-in-validation": Kind(
        "notable",
        "Classes that validation or test do not show",
        "They are left out of the mean there; move or add images to evaluate them",
    ),
    "class-balance": Kind(
        "notable",
        "Classes whose share differs much between the splits",
        "The metrics of the splits are of different problems; draw the splits again",
    ),
    "empty-masks": Kind(
        "notable",
        "Images without any object",
        "Fine where nothing is to be seen; look whether objects were forgotten",
    ),
    "regions-below-stride": Kind(
        "notable",
        "Images with regions smaller than 16 px, the stride of most networks",
        "Networks blur what is so small: train at full scale (--set data.scale=1) and with a "
        "model of small stride, such as stacked-fcn or dilated",
    ),
    "eight-bits-in-sixteen": Kind(
        "notable",
        "Images of 16 bits that hold no more than 8",
        "Harmless, as pixelwise scales by the data's own mean; export from the original for more",
    ),
    "near-black-images": Kind(
        "notable",
        "Images that are almost black",
        "Look at them; --set data.contrast=stretch spreads each image over the whole range",
    ),
    "duplicates-within-split": Kind(
        "notable",
        "Images that lie in one split several times, pixel by pixel the same",
        "They count several times; keep one of each",
    ),
    "exif-rotation": Kind(
        "notable",
        "Images that carry an EXIF rotation",
        "pixelwise turns them upright; check that their masks were drawn so",
    ),
}
"""In the order of their harm; names are stable, for scripts go by them."""
