"""Writes docs/recipes.md: every key of a recipe, with its default and its meaning.

The keys, defaults and meanings are those of ``src/pixelwise/config.py`` and, for the label reading,
of ``src/pixelwise/label_options.py``; ``tests/test_docs.py``
checks that the page is up to date. Run it after a change there:
``python tools/recipe_keys.py``.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

from pixelwise.config import Recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "recipes.md"

HEAD = """\
# Recipe keys

All keys of a recipe, from the docstrings of `src/pixelwise/config.py` and `label_options.py`;
`tools/recipe_keys.py` writes this page. A default of *open* means that the value is chosen from the
data and the machine, and printed with its reason, or that the step is left out, as described.
[Training](training.md#the-recipe) explains how recipes, options and `--set` work together.
"""


def meanings(model: type) -> dict[str, str]:
    """Return the descriptions of the attributes in Google-style docstrings, in one line each.

    Those of the classes that a model is derived from are included.
    """
    texts = [inspect.cleandoc(vars(one).get("__doc__") or "") for one in reversed(model.__mro__)]
    entries = [
        entry
        for text in texts
        for entry in re.findall(
            r"^    (\w+): (.*(?:\n        .*)*)", text.partition("Attributes:\n")[2], re.MULTILINE
        )
    ]
    return {
        name: " ".join(words.split()).replace("``None``", "*open*").replace("``", "`")
        for name, words in entries
    }


def shown(value: object) -> str:
    """Return a default as YAML would write it."""
    if value is None:
        return "*open*"
    plain = list(value) if isinstance(value, tuple) else value
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(plain)}`"


def page() -> str:
    """Return the text of the page."""
    recipe = Recipe()
    parts = [HEAD]
    for name, field in type(recipe).model_fields.items():
        section = getattr(recipe, name)
        if not hasattr(type(section), "model_fields"):
            parts += [f"\n`{name}` (default {shown(section)}): {meanings(Recipe)[name]}\n"]
            continue
        assert field.annotation is not None
        told = meanings(type(section))
        parts.append(f"\n## {name}\n| key | default | meaning |\n|---|---|---|\n")
        parts += [
            f"| `{name}.{key}` | {shown(getattr(section, key))} | {told[key]} |\n"
            for key in type(section).model_fields
        ]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
