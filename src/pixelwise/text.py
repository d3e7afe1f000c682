"""Text fragments that several modules share."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeVar

Entry = TypeVar("Entry")

NOTHING_YET = "interrupted before the first training step; nothing was trained or written"
"""Message for a training run that was interrupted before anything was saved."""

RUN_AS_BEFORE = "interrupted before the first resumed step; the run is unchanged"
"""Message for a resumed run that was interrupted before its first step."""

NOT_PRINTABLE = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode categories that a terminal or a page does not show as characters."""

KEPT = "\n\t\u200c\u200d"
"""Of these, line breaks, tabs, and the joiners of Persian and Indic scripts are harmless."""


_SURROGATE = re.compile("[\ud800-\udfff]")
"""What is no Unicode: Python reads a byte of a file name that is not UTF-8 as U+DC00 + byte."""


def printable(text: str) -> str:
    r"""Return foreign text, such as a file name, so that a terminal, page or picture shows it.

    Control characters and controls of the writing direction become escapes such as ``\x1b``: they
    could move the cursor or hide part of a name. What is not Unicode: see :func:`portable`.
    """
    if text.isprintable():  # nearly all text, and the pictures in a page
        return text
    return "".join(
        char if char in KEPT or unicodedata.category(char) not in NOT_PRINTABLE
        else char.encode("unicode_escape").decode("ascii")
        for char in portable(text)
    )  # fmt: skip


def portable(text: str) -> str:
    r"""Return foreign text so that it can be written as UTF-8, into JSON, CSV, YAML or HTML.

    A byte of a file name that is not UTF-8 becomes ``%FF``, as in an address of the web; any other
    half of a surrogate pair becomes an escape such as ``\ud83d``.
    """
    return _SURROGATE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"%{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def whole_number(text: str) -> int | None:
    """Return the number of up to 18 digits that foreign text is; ``None`` for any other text.

    ``str.isdigit`` also knows digits that ``int`` does not, such as a superscript 2, and ``int``
    refuses thousands of digits.
    """
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def shortened(text: str, most: int) -> str:
    """Return a text of at most about ``most`` characters; of a longer one, both ends and length."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}...{text[-(most // 2) :]} ({len(text):,} characters)"


def amount(number: float, noun: str) -> str:
    """Return a number with its noun: ``1 image``, ``2,000 images``, ``0.5 minutes``."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,.10g} {noun}{ending}"


def rounded(number: float, digits: int = 3) -> str:
    """Return a number with some significant digits and no exponent: ``130``, ``0.012``, ``1,300``.

    Args:
        number: The number.
        digits: Number of significant digits; further digits before the decimal point become zeros.
    """
    if not math.isfinite(number):
        return str(number)
    text = f"{float(f'{number:.{digits}g}'):,.10f}"
    return text.rstrip("0").rstrip(".")


def several(given: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries of an argument that takes several, of which one may stand alone."""
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    return (given,) if is_one else tuple(given)  # type: ignore[return-value]


def listed(names: Sequence[str], most: int) -> str:
    """Return names with commas, and dots in place of those beyond ``most``: ``a, b, ...``."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def import_words(imports: Iterable[str], defined_in: str | None) -> tuple[str, ...]:
    """Return the command-line options that import modules first.

    Args:
        imports: Names of modules.
        defined_in: The module of the model, if it is not of pixelwise; a script has no name.
    """
    modules = {*imports, defined_in} - {None, "__main__"}
    return tuple(word for module in sorted(map(str, modules)) for word in ("--import", module))
