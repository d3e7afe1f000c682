"""Names that tell a split, and how deep folders may be nested."""

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Folder names that indicate a split, and the split."""

MAX_DEPTH = 64
"""Largest depth of nested folders in a path."""
