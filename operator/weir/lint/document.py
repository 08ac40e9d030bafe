"""From text to values that know where they stand: YAML as kubectl reads it, with the line of every node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from weir.contract.loading import MOST_NODES, TAG, ManifestLoader, UnreadableNode, key_text, scalar, too_deep
from weir.lint.finding import Finding, Mark, Path, Severity, path_text


@dataclass(frozen=True)
class Source:
    """A text and the name that findings give it."""

    name: str
    text: str


@dataclass
class Document:
    """One object: its value as JSON would hold it, and where each part of it stands.

    ``marks`` has the first character of each value, ``keys`` that of each key in a mapping, ``blocks`` the values that
    begin on a line of their own; all by their paths in the text, in which the object is at ``root``.
    """

    file: str
    value: Any
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    blocks: set[Path] = field(default_factory=set)
    root: Path = ()

    def mark(self, path: Path, *, key: bool = False) -> Mark:
        """Where the value is, its key with ``key`` or where the value begins on a later line; else its parent."""
        whole = (*self.root, *path)
        for length in range(len(whole), len(self.root) - 1, -1):
            part = whole[:length]
            named = part in self.keys and length > len(self.root)
            if named and (key or part in self.blocks or length < len(whole)):
                return self.keys[part]
            if part in self.marks:
                return self.marks[part]
        return Mark()

    def part(self, path: Path) -> Document:
        """The object at that path as a document of its own."""
        value = self.value
        for step in path:
            value = value[step]
        return replace(self, value=value, root=(*self.root, *path))


def parse(source: Source) -> tuple[list[Document], list[Finding]]:
    """Every document of the text that holds anything, and what is wrong with the YAML itself."""
    documents: list[Document] = []
    findings: list[Finding] = []
    try:
        deep = too_deep(source.text)
        if deep is not None:
            return [], [_broken(source.name, _mark(deep), "nested too deeply")]
        loader = ManifestLoader(source.text)
        while loader.check_node():
            reader = _Reader(source.name, loader)
            node = loader.get_node()
            assert node is not None, "check_node said that there is one"
            documents += reader.read(node)
            findings += reader.findings
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        findings.append(_broken(source.name, _mark(place) if place is not None else Mark(), message))
    except yaml.reader.ReaderError as error:
        before = source.text[: error.position]
        mark = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        findings.append(_broken(source.name, mark, f"character #x{error.character:04x} is not allowed"))
    return documents, findings


def _broken(file: str, mark: Mark, message: str) -> Finding:
    return Finding(file, mark, Severity.ERROR, "yaml", "", "", f"no YAML: {message}")


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


class _Reader:
    """Turns one document's nodes into values."""

    def __init__(self, file: str, loader: ManifestLoader) -> None:
        self.findings: list[Finding] = []
        self._document = Document(file, None)
        self._loader = loader
        self._nodes = 0
        self._open: set[int] = set()

    def read(self, node: Node) -> Iterator[Document]:
        try:
            self._document.value = self._value(node, ())
        except UnreadableNode as error:
            self.findings.append(_broken(self._document.file, _mark(error.node.start_mark), str(error)))
            return
        except yaml.constructor.ConstructorError as error:  # a merge of what is no mapping
            self.findings.append(_broken(self._document.file, _mark(error.problem_mark), str(error.problem)))
            return
        if self._document.value is not None:
            yield self._document

    def _value(self, node: Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise UnreadableNode(node, "too large once its aliases are written out")
        if id(node) in self._open:
            raise UnreadableNode(node, "contains itself by an alias")
        self._document.marks[path] = _mark(node.start_mark)
        if isinstance(node, ScalarNode):
            return scalar(node)
        assert isinstance(node, CollectionNode)
        if not node.flow_style:
            self._document.blocks.add(path)
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self._value(child, (*path, index)) for index, child in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        first: dict[str, Mark] = {}
        for key, _ in node.value:
            name = key_text(key)
            if key.tag != f"{TAG}merge" and name in first:
                self._twice(name, path, _mark(key.start_mark), first[name])
            first.setdefault(name, _mark(key.start_mark))
        self._loader.flatten_mapping(node)
        result = {}
        for key, child in node.value:
            name = key_text(key)
            self._document.keys[(*path, name)] = _mark(key.start_mark)
            result[name] = self._value(child, (*path, name))
        return result

    def _twice(self, name: str, path: Path, mark: Mark, first: Mark) -> None:
        place = path_text((*path, name))
        message = f"`{name}` is given twice, first in line {first.line}"
        self.findings.append(
            Finding(
                self._document.file, mark, Severity.ERROR, "duplicate-key", "", place, message, "remove one of the two"
            )
        )
