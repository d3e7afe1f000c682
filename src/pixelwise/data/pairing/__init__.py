"""Finds the images and masks of a folder, and pairs them.

``folders`` holds the layouts that are known by their folder names; the other modules find the pairs
of any other folder: ``tree`` lists it once, ``families`` finds sets of files with the same names,
``contents`` tells masks from images by their pixels, ``readings`` decides, and ``questions`` asks
where nothing is certain. What is decided is a pair of ``templates``, which can also be given.
"""

from pixelwise.data.pairing.folders import (
    ANNOTATION_SUFFIXES,
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    MAX_DEPTH,
    SPLIT_FOLDERS,
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
)

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
]
