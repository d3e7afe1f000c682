"""The keys at the top level of a JSON file, read from its beginning without parsing it whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic_core import from_json

HEAD_BYTES = 16_384
"""So much of a file is looked at first, which is enough for nearly all."""

DEEP_BYTES = 8 * 1024**2
"""The most that is looked at of a file whose head does not tell."""

# Possessive, and without need of a closing quote: no text makes it go back, so that the time grows
# with the length alone.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""What decides how deep a place in a JSON text is."""

VALUE = re.compile(rb"\s*:\s*(.{1,80})", re.DOTALL)
"""What follows a key: the beginning of its value."""


def top_level_entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The keys of the outermost object, each with the first bytes of its value.

    Args:
        content: JSON, or only its beginning; damaged JSON gives the keys before the damage.
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
    """Whether the outermost object of a file has an entry, as far as its beginning tells.

    Args:
        path: The file.
        is_wanted: Asked of each key and the first bytes of its value.
        num_bytes: The most that is looked at; most files are told by their first ``HEAD_BYTES``.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(min(HEAD_BYTES, num_bytes))
        if any(is_wanted(*entry) for entry in top_level_entries(content)):
            return True
        rest = file.read(max(0, num_bytes - HEAD_BYTES))
    return bool(rest) and any(is_wanted(*entry) for entry in top_level_entries(content + rest))


def _unescaped(key: bytes) -> str:
    """A key without its quotes; escapes are resolved, as any character may be written as one."""
    if b"\\" in key:
        try:
            return str(from_json(key))
        except ValueError:
            pass
    return key.strip(b'"').decode("utf-8", errors="replace")
