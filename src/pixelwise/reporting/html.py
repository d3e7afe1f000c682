"""Writes pages as self-contained HTML files that need no network."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from pixelwise.files import write_text
from pixelwise.io.arrays import UInt8Array
from pixelwise.text import printable

JPEG_QUALITY = 88

MAX_SIDE_PX = 1600
"""Maximum image side in a page; larger images are shrunk to keep the file small."""


def write_page(path: Path, template: str, **content: Any) -> None:
    """Fill a template and write it, whole or not at all; every text in it is escaped.

    Args:
        path: The HTML file.
        template: A file in the folder ``templates``.
        content: Variables of the template.

    Raises:
        OutputError: The file cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pixelwise.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    write_text(path, environment.get_template(template).render(**content))


def shrunk(pixels: UInt8Array, max_side_px: int = MAX_SIDE_PX) -> Image.Image:
    """Return a picture of uint8 pixels (H, W, 3), at most ``max_side_px`` on its longer side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((max_side_px, max_side_px))
    return picture


def data_uri(picture: Image.Image, *, lossless: bool = False) -> str:
    """Encode a picture as a data URI.

    Args:
        picture: RGB or with a palette.
        lossless: Use PNG, for pictures of few colors; otherwise JPEG.
    """
    content = io.BytesIO()
    if lossless:
        picture.save(content, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(content, "JPEG", quality=JPEG_QUALITY)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
