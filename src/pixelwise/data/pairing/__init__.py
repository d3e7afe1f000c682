"""Pairs the images and masks of a folder.

``folders`` holds the layouts that are known by their folder names, and ``opening`` makes records of
what :mod:`pixelwise.pairing` finds in any other folder.
"""

from pixelwise.data.pairing.folders import (
    ANNOTATION_SUFFIXES,
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    by_stem,
    end_inside,
    folder_pairs,
    image_files,
    list_files,
    listed_entries,
    listed_records,
    mask_files,
    named_folder,
    pair_by_stem,
    require_masks,
    split_folders,
    stems,
    subfolders,
    unused_folders,
    without_affix,
)
from pixelwise.pairing.split_names import MAX_DEPTH, SPLIT_FOLDERS

__all__ = [
    "ANNOTATION_SUFFIXES",
    "IMAGE_FOLDERS",
    "MASK_FOLDERS",
    "MAX_DEPTH",
    "SPLIT_FOLDERS",
    "by_stem",
    "end_inside",
    "folder_pairs",
    "image_files",
    "list_files",
    "listed_entries",
    "listed_records",
    "mask_files",
    "named_folder",
    "pair_by_stem",
    "require_masks",
    "split_folders",
    "stems",
    "subfolders",
    "unused_folders",
    "without_affix",
]
