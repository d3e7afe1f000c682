"""Reading YAML files in bounded memory, and checking plain data against schemas."""

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
"""A recipe or a card of every class there can be takes a fiftieth of it."""

MAX_YAML_ENTRIES = 200_000
"""Entries of a YAML file with its aliases written out; a few lines can stand for billions."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping, in memory bounded by ``MAX_YAML_BYTES``.

    Raises:
        ConfigError: The file is missing, too large, no YAML, or no mapping.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_YAML_BYTES + 1)
        if len(text) > MAX_YAML_BYTES:
            raise ValueError(f"more than {MAX_YAML_BYTES:,} bytes")
        content = _parse_yaml(text.decode())
    except Exception as error:  # PyYAML raises many kinds: KeyError and IndexError of odd tags
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path} must be a readable YAML file. Got: {reason[:300]}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values. Got {type(content).__name__}")
    return content


def _parse_yaml(text: str) -> Any:
    """The content of a YAML document whose aliases do not multiply beyond ``MAX_YAML_ENTRIES``."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        num_entries = _num_entries(node, {})
        if num_entries > MAX_YAML_ENTRIES:
            raise ValueError(f"more than {MAX_YAML_ENTRIES:,} entries, aliases written out")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _num_entries(node: yaml.Node, counted: dict[yaml.Node, float]) -> float:
    """How many entries a node has when each alias in it is written out; endless where it loops."""
    if node.tag.endswith(":int") and len(node.value) > 100:  # no message could print it
        raise ValueError("a number of more than 100 digits")
    if node not in counted:
        counted[node] = math.inf  # until it is known; met again inside itself, it stays so
        inside = () if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            inside = chain.from_iterable(inside)  # of keys and values
        counted[node] = 1 + sum(_num_entries(entry, counted) for entry in inside)
    return counted[node]


def validated(schema: type[Schema], content: Any, origin: str) -> Schema:
    """Check plain data against a schema, with one line that says what is wrong.

    Args:
        schema: The pydantic model.
        content: What was read.
        origin: Where it was read from, for the message.

    Raises:
        ConfigError: It does not fit; an unknown key gets a suggestion.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        # Where one of several shapes is allowed, the deepest error is of the shape that was meant.
        first = max(error.errors(), key=lambda entry: len(entry["loc"]))
        # Of several shapes, the place names the one that was tried; nobody wrote that name.
        *parents, last = (part for part in first["loc"] or ("",) if part != "[key]")
        place = [*(part for part in parents if not str(part)[:1].isupper()), last]
        where = ".".join(map(str, place))
        if first["type"] == "extra_forbidden":
            known = _keys_at(schema, place[:-1])
            close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            known_keys = f"Known: {', '.join(known)}" if known else "Leave it out"
            advice = f"Did you mean {close[0]!r}?" if close else known_keys
            raise ConfigError(f"{origin}: {where} must be a known key. {advice}") from error
        what = f"{origin}: {where}" if where else origin
        # Our own checks say what they got; those of pydantic do not.
        got = "" if first["type"] == "value_error" else f". Got {first['input']!r}"[:90]
        raise ConfigError(f"{what}: {_sentence(first['msg'])}{got}") from error


def _keys_at(schema: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys that are allowed at a place inside a schema."""
    for part in location:
        if isinstance(part, int):
            continue  # an entry of a list, all of which are alike
        field = schema.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        schema = inner
    return list(schema.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation names, itself or inside ``list[str | Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = (_model_in(part) for part in get_args(annotation))
    return next((model for model in inside if model is not None), None)


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return text[0].lower() + text[1:] if text else message
