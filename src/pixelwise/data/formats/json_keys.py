"""Finds the top-level keys of a JSON file without parsing all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic_core import from_json

from pixelwise.files import open_regular

HEAD_BYTES = 16_384
"""Number of bytes that are examined first; enough for nearly all files."""

DEEP_BYTES = 8 * 1024**2
"""Largest number of bytes that are examined if the first ones do not contain the key."""

# Possessive quantifiers and an optional closing quote prevent backtracking, so the time is linear
# in the length.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""Strings and brackets, which determine the nesting depth in a JSON text."""

VALUE = re.compile(rb"\s*:\s*(.{1,80})", re.DOTALL)
"""The beginning of the value after a key."""


def top_level_entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the keys of the outermost object with the first bytes of their values.

    Args:
        content: JSON or the beginning of it; in damaged JSON, the keys before the damage are found.
    """
    text = content.removeprefix(b"\xef\xbb\xbf")
    if not text.lstrip().startswith(b"{"):
        return
    depth = 0
    for token in TOKEN.finditer(text):
        first = text[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth <= 0:
                return
        elif depth == 1 and (value := VALUE.match(text, token.end())):
            yield _unescaped(token[0]), value[1]


def has_entry(
    path: Path, is_wanted: Callable[[str, bytes], bool], num_bytes: int = DEEP_BYTES
) -> bool:
    """Whether the outermost object of a file has an entry within its first bytes.

    Args:
        path: The file.
        is_wanted: Called with each key and the first bytes of its value.
        num_bytes: Largest number of bytes to examine, if the first ``HEAD_BYTES`` do not suffice.

    Raises:
        OSError: The file cannot be read.
    """
    with open_regular(path) as file:
        content = file.read(min(HEAD_BYTES, num_bytes))
        if any(is_wanted(*entry) for entry in top_level_entries(content)):
            return True
        rest = file.read(max(0, num_bytes - HEAD_BYTES))
    return bool(rest) and any(is_wanted(*entry) for entry in top_level_entries(content + rest))


def _unescaped(key: bytes) -> str:
    """Return a key without quotes and escapes, as any character may be escaped."""
    if b"\\" in key:
        try:
            return str(from_json(key))
        except ValueError:
            pass
    return key.strip(b'"').decode("utf-8", errors="replace")
