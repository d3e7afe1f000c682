"""Reads YAML files in bounded memory and validates plain data against schemas."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pixelwise.errors import ConfigError

Schema = TypeVar("Schema", bound=BaseModel)

MAX_YAML_BYTES = 1024**2
"""Maximum file size; a recipe or a card with all possible classes takes 2 % of it."""

MAX_YAML_ENTRIES = 200_000
"""Maximum number of entries with expanded aliases; a few lines can expand to billions."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file with a mapping, in memory bounded by ``MAX_YAML_BYTES``.

    Raises:
        ConfigError: The file is missing, too large, not YAML, or not a mapping.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_YAML_BYTES + 1)
        if len(text) > MAX_YAML_BYTES:
            raise ValueError(f"more than {MAX_YAML_BYTES:,} bytes")
        content = _parse_yaml(text.decode())
    except (
        Exception
    ) as error:  # PyYAML raises many types, such as KeyError and IndexError for unusual tags
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path} must be a readable YAML file. Got: {reason[:300]}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must contain keys and values. Got {type(content).__name__}")
    return content


def _parse_yaml(text: str) -> Any:
    """Parse YAML whose aliases expand to at most ``MAX_YAML_ENTRIES`` entries."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        num_entries = _num_entries(node, {})
        if num_entries > MAX_YAML_ENTRIES:
            raise ValueError(f"more than {MAX_YAML_ENTRIES:,} entries with expanded aliases")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _num_entries(node: yaml.Node, counted: dict[yaml.Node, float]) -> float:
    """Return the number of entries of a node with expanded aliases; infinite for a loop."""
    if node.tag.endswith(":int") and len(node.value) > 100:  # it could not be printed in a message
        raise ValueError("a number of more than 100 digits")
    if node not in counted:
        counted[node] = (
            math.inf
        )  # infinite until computed, so that a node inside itself stays infinite
        inside = () if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            inside = chain.from_iterable(inside)  # keys and values
        counted[node] = 1 + sum(_num_entries(entry, counted) for entry in inside)
    return counted[node]


def validated(schema: type[Schema], content: Any, origin: str) -> Schema:
    """Validate plain data against a schema, with a one-line error message.

    Args:
        schema: The pydantic model.
        content: The data.
        origin: Source of the data, for the message.

    Raises:
        ConfigError: The data is invalid; for an unknown key, the message suggests a known one.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        # If several types are allowed, the deepest error belongs to the intended type.
        first = max(error.errors(), key=lambda entry: len(entry["loc"]))
        # If several types are allowed, the location contains the type's name, which is no key.
        *parents, last = (part for part in first["loc"] or ("",) if part != "[key]")
        place = [*(part for part in parents if not str(part)[:1].isupper()), last]
        where = ".".join(map(str, place))
        if first["type"] == "extra_forbidden":
            known = _keys_at(schema, place[:-1])
            close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            known_keys = f"Known: {', '.join(known)}" if known else "Remove it"
            advice = f"Did you mean {close[0]!r}?" if close else known_keys
            raise ConfigError(f"{origin}: {where} must be a known key. {advice}") from error
        what = f"{origin}: {where}" if where else origin
        # Messages of our own validators contain the value; those of pydantic do not.
        got = "" if first["type"] == "value_error" else f". Got {first['input']!r}"[:90]
        raise ConfigError(f"{what}: {_sentence(first['msg'])}{got}") from error


def _keys_at(schema: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys that are allowed at a location in a schema."""
    for part in location:
        if isinstance(part, int):
            continue  # an entry of a list; all entries have the same type
        field = schema.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        schema = inner
    return list(schema.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation, such as ``Model`` or ``list[str | Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = (_model_in(part) for part in get_args(annotation))
    return next((model for model in inside if model is not None), None)


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return text[0].lower() + text[1:] if text else message
