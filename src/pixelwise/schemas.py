"""Reads YAML files in bounded memory and validates plain data against schemas."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from pixelwise.errors import ConfigError
from pixelwise.files import open_regular

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Schema = TypeVar("Schema", bound=BaseModel)

Share = Annotated[float, Field(ge=0, lt=1)]
Length = Annotated[float, Field(gt=0)]

MAX_YAML_BYTES = 1024**2
"""Maximum file size; a recipe or a card with all possible classes takes 2 % of it."""

MAX_YAML_ENTRIES = 200_000
"""Maximum number of entries with expanded aliases; a few lines can expand to billions."""

MAX_DEPTH = 50
"""Maximum depth of lists and mappings inside each other, in YAML and JSON."""


def parse_json(text: str, most_entries: int) -> Any:
    """Parse JSON that another program may have written.

    Args:
        text: The text, whose length the caller has checked.
        most_entries: Maximum number of entries.

    Raises:
        ValueError: It is no JSON, nested too deeply, or has too many entries.
    """
    return bounded(from_json(text), most_entries)


def bounded(content: Any, most_entries: int) -> Any:
    """Return plain data that is neither nested too deeply nor has too many entries.

    Raises:
        ValueError: It is or has.
    """
    level, num_entries = [content], 0
    for _ in range(MAX_DEPTH):
        num_entries += len(level)
        if num_entries > most_entries:
            raise ValueError(f"more than {most_entries:,} entries")
        held = (entry.values() if isinstance(entry, dict) else entry for entry in level
                if isinstance(entry, dict | list | tuple | set))  # fmt: skip
        level = [*chain.from_iterable(held)]
        if not level:
            return content
    raise ValueError(f"more than {MAX_DEPTH} lists and mappings inside each other")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file with a mapping, in memory bounded by ``MAX_YAML_BYTES``.

    Raises:
        ConfigError: The file is missing, too large, not YAML, or not a mapping.
    """
    if path.is_dir():
        inside = sorted(path.glob("*.yaml"))
        advice = f"Give a file, such as {inside[0]}" if inside else "Give a file"
        raise ConfigError(f"{path} must be a YAML file. It is a folder. {advice}")
    try:
        with open_regular(path) as file:
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
        return bounded(loader.construct_document(node), MAX_YAML_ENTRIES)
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
            _require_distinct_keys(node)
            inside = chain.from_iterable(inside)  # keys and values
        counted[node] = 1 + sum(_num_entries(entry, counted) for entry in inside)
    return counted[node]


def _require_distinct_keys(node: yaml.MappingNode) -> None:
    """Refuse a key that appears twice: YAML forbids it, and PyYAML drops the first entry.

    Raises:
        ValueError: There is one.
    """
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge"):
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"the key {key.value[:80]!r} twice, again in line {line}")
            seen.add((key.tag, key.value))


RULES = {
    "int": "be a whole number",
    "float": "be a number",
    "bool": "be true or false",
    "string": "be text",
    "tuple": "be a list",
    "list": "be a list",
    "dict": "hold keys and values",
    "model": "hold keys and values",
    "finite": "be a finite number",
    "missing": "be given",
    "frozen": "not be changed; make a copy with model_copy",
}
"""What must hold, by the first word of an error type of pydantic, whose messages name types."""


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
        raise _refusal(error, schema, content, origin) from error


class CheckedModel(BaseModel):
    """A model that raises a ``ConfigError`` where it is made of, or assigned, invalid values."""

    def __init__(self, **content: Any) -> None:
        try:
            super().__init__(**content)
        except ValidationError as error:
            raise _refusal(error, type(self), content, type(self).__name__) from error

    # The mark of pydantic's own constructors: a model inside another is validated without them, so
    # that the error of the outer one knows the whole place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise _refusal(error, type(self), {name: value}, type(self).__name__) from error


class Section(CheckedModel):
    """A section of a recipe: its keys are known, and an empty entry means its default."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, content: Any) -> Any:
        """Replace ``None`` by the defaults: an empty ``training:`` is ``None`` in YAML."""
        if not isinstance(content, dict):
            return content
        empty = {key for key, value in content.items() if value is None}
        fields = {key: field.annotation for key, field in cls.model_fields.items() if key in empty}
        dropped = {key for key, annotation in fields.items() if _holds_entries(annotation)}
        return {key: value for key, value in content.items() if key not in dropped}


def _holds_entries(annotation: Any) -> bool:
    """Whether the annotation is a section, mapping or list that may not be ``None``."""
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel | dict | list | tuple)


def rule_in_words(error: ErrorDetails) -> str:
    """Return what must hold according to an error of pydantic, such as ``be a whole number``."""
    limits, message = error.get("ctx", {}), error["msg"]
    if error["type"] in ("too_short", "too_long"):
        least, most = limits.get("min_length"), limits.get("max_length")
        bound = f"at least {least}" if most is None else f"at most {most}"
        return f"have {bound} {'entry' if (least or most) == 1 else 'entries'}"
    if error["type"] == "invalid_key" or error["loc"][-1:] == ("[key]",):
        return "have text as every key"
    known = RULES.get(error["type"].partition("_")[0])
    return known or message.removeprefix("Input should ").removeprefix("must ").rstrip(".")


def _refusal(
    error: ValidationError, schema: type[BaseModel], content: Any, origin: str
) -> ConfigError:
    """Return an error of pydantic as one line that names keys, and no types of Python."""
    # If several types are allowed, the deepest error belongs to the intended type.
    places = [(_place_in(content, entry), entry) for entry in error.errors()]
    place, first = max(places, key=lambda found: len(found[0]))
    where = ".".join(map(str, place))
    what = f"{origin}: {where}" if where else origin
    if first["type"] == "value_error":  # our own validators write sentences that hold the value
        return ConfigError(f"{what}: {first['ctx']['error']}")
    if first["type"] in ("extra_forbidden", "no_such_attribute"):
        known = _keys_at(schema, place[:-1])
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        known_keys = f"Known: {', '.join(known)}" if known else "Remove it"
        advice = f"Did you mean {close[0]!r}?" if close else known_keys
        return ConfigError(f"{what} must be a known key. {advice}")
    rules = dict.fromkeys(rule_in_words(entry) for there, entry in places if there == place)
    rule = ", or ".join(rules).replace(", or be ", ", or ")
    got = "none" if first["type"] == "missing" else f"{first['input']!r}"[:80]
    return ConfigError(f"{what} must {rule}. Got {got}")


def _place_in(content: Any, error: ErrorDetails) -> tuple[int | str, ...]:
    """Return the keys that lead to an error; pydantic puts names of types between them."""
    place: list[int | str] = []
    for part in error["loc"]:
        if isinstance(content, BaseModel):
            content = dict(content)
        is_key = isinstance(content, Mapping) and part in content
        is_index = isinstance(content, list | tuple) and isinstance(part, int)
        if is_key or (is_index and int(part) < len(content)):
            content = content[part]
            place.append(part)
    return (*place, error["loc"][-1]) if error["type"] == "missing" else tuple(place)


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
