"""YAML and JSON texts as JSON values: no dates, no base 60, and nothing that unfolds into a bomb."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MOST_NODES = 200_000
"""Nodes of one document with its aliases written out; beyond it the text is a bomb, no document."""

MOST_NESTED = 100
"""Levels of nesting; parsers recurse, and no document goes so deep."""

_MOST_DIGITS = 300
"""Digits of an integer; beyond it a number is none of JSON, and reading it takes time."""

TAG = "tag:yaml.org,2002:"
_TRUE = frozenset({"y", "yes", "true", "on"})
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")


class UnreadableText(ValueError):
    """The text is no YAML, or none that stands for JSON. ``line`` counts from 1, 0 where it is unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


class UnreadableNode(Exception):
    """A node that stands for nothing in JSON."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.node = node


try:  # ten times as fast, and the ancestor of kubectl's parser
    from yaml import CSafeLoader as _Base
except ImportError:
    from yaml import SafeLoader as _Base  # type: ignore[assignment]


class PlainLoader(_Base):
    """SafeLoader without dates and base 60; ``1e3`` is a number. ``y`` is a text: the standard's unit for years."""


class ManifestLoader(_Base):
    """The same with the plain scalars of kubectl's parser, for which ``y`` and ``n`` are true and false."""


_WORDS = r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"
PlainLoader.yaml_implicit_resolvers = {}
ManifestLoader.yaml_implicit_resolvers = {}
PlainLoader.add_implicit_resolver(f"{TAG}bool", re.compile(rf"(?:{_WORDS})\Z"), list("yYnNtTfFoO"))
ManifestLoader.add_implicit_resolver(f"{TAG}bool", re.compile(rf"(?:y|Y|n|N|{_WORDS})\Z"), list("yYnNtTfFoO"))
for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("int", _INT.pattern, "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    for _loader in (PlainLoader, ManifestLoader):
        _loader.add_implicit_resolver(f"{TAG}{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def load_yaml(text: str) -> Any:
    """The one document of a text in YAML or JSON, as JSON would hold it: dates and times stay strings.

    Raises:
        UnreadableText: no YAML, several documents, a key twice, or more than `MOST_NODES` or `MOST_NESTED`.
    """
    try:
        deep = too_deep(text)
        if deep is not None:
            raise UnreadableText("nested too deeply", deep.line + 1)
        loader = PlainLoader(text)
        node = loader.get_single_node()
        return _Values(loader).of(node) if node is not None else None
    except UnreadableNode as error:
        raise UnreadableText(str(error), error.node.start_mark.line + 1) from None
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise UnreadableText(f"no YAML: {message}", place.line + 1 if place is not None else 0) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UnreadableText(f"no YAML: character #x{error.character:04x} is not allowed", line) from None


def too_deep(text: str) -> Any:
    """The mark where the nesting goes beyond what can be composed safely, None where it does not."""
    depth = 0
    for event in yaml.parse(text, Loader=PlainLoader):
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > MOST_NESTED:
                return event.start_mark
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
    return None


def nested_too_deeply(value: Any) -> bool:
    """Whether a value of JSON goes deeper than `MOST_NESTED`: what reads it recurses."""
    level = [value]
    for _ in range(MOST_NESTED):
        level = [
            child
            for entry in level
            if isinstance(entry, dict | list)
            for child in (entry.values() if isinstance(entry, dict) else entry)
        ]
        if not level:
            return False
    return True


def key_text(node: Node) -> str:
    """A key as JSON would hold it."""
    if not isinstance(node, ScalarNode):
        raise UnreadableNode(node, "a key must be a plain text")
    value = scalar(node) if node.tag != f"{TAG}merge" else node.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def scalar(node: ScalarNode) -> Any:
    """The value of a plain or quoted text."""
    text: str = node.value
    match node.tag.removeprefix(TAG):
        case "str" | "timestamp":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() in _TRUE
        case "int" if _INT.fullmatch(text):
            if len(text) > _MOST_DIGITS:
                raise UnreadableNode(node, f"a number of {len(text)} digits is larger than any number of JSON")
            return _int(text)
        case "float" | "int":
            return _float(node, text)
        case other:
            raise UnreadableNode(node, f"the tag {other} has no meaning in a manifest")


def _float(node: ScalarNode, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UnreadableNode(node, f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise UnreadableNode(node, f"{text!r} is larger than any number of JSON")
    return value


def _int(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign, digits = (-1, digits[1:]) if digits[0] == "-" else (1, digits.lstrip("+"))
    for prefix, base in (("0b", 2), ("0o", 8), ("0x", 16)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    # An old notation that the parser still knows: 010 is eight.
    octal = len(digits) > 1 and digits.startswith("0") and set(digits) <= set("01234567")
    return sign * int(digits, 8 if octal else 10)


class _Values:
    """Turns nodes into values."""

    def __init__(self, loader: PlainLoader) -> None:
        self._loader = loader
        self._nodes = 0
        self._open: set[int] = set()

    def of(self, node: Node) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise UnreadableNode(node, "too large once its aliases are written out")
        if id(node) in self._open:
            raise UnreadableNode(node, "contains itself by an alias")
        if isinstance(node, ScalarNode):
            return scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.of(child) for child in node.value]
            assert isinstance(node, MappingNode)
            return self._mapping(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        own = [key_text(key) for key, _ in node.value if key.tag != f"{TAG}merge"]
        if len(own) != len(set(own)):
            twice = next(name for name in own if own.count(name) > 1)
            raise UnreadableNode(node, f"the key {twice!r} is given twice")
        self._loader.flatten_mapping(node)
        return {key_text(key): self.of(child) for key, child in node.value}
