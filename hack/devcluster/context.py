"""Which files of a build context count: all but those that .dockerignore names."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class IgnoreRule:
    """One line of a .dockerignore file."""

    pattern: re.Pattern[str]
    ignored: bool


def parse_ignore(text: str) -> tuple[IgnoreRule, ...]:
    """Rules in order; the last one that matches decides."""
    rules = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        ignored = not line.startswith("!")
        rules.append(IgnoreRule(_pattern(line.lstrip("!").strip().strip("/")), ignored))
    return tuple(rules)


def is_ignored(name: str, rules: Sequence[IgnoreRule]) -> bool:
    """Whether a path relative to the context is left out; a rule for a directory holds for all below it."""
    ignored = False
    for rule in rules:
        if rule.pattern.fullmatch(name):
            ignored = rule.ignored
    return ignored


def ignore_file(context: Path, dockerfile: Path) -> Path | None:
    """The file that says what a build must not see: the Dockerfile's own, else the context's."""
    candidates = (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore")
    return next((path for path in candidates if path.is_file()), None)


def context_files(context: Path, dockerfile: Path) -> Iterator[tuple[str, Path]]:
    """Relative name and path of every file (or link) of a context that the build can see, sorted."""
    ignored_by = ignore_file(context, dockerfile)
    rules = parse_ignore(ignored_by.read_text()) if ignored_by is not None else ()
    has_exceptions = any(not rule.ignored for rule in rules)
    found = []
    for directory, subdirectories, files in os.walk(context):
        base = Path(directory)

        def name_of(entry: str, base: Path = base) -> str:
            return (base / entry).relative_to(context).as_posix()

        links = [entry for entry in subdirectories if (base / entry).is_symlink()]
        found += [name_of(entry) for entry in [*files, *links] if not is_ignored(name_of(entry), rules)]
        subdirectories[:] = [
            entry
            for entry in subdirectories
            if entry not in links and entry != ".git" and (has_exceptions or not is_ignored(name_of(entry), rules))
        ]
    for name in sorted(found):
        yield name, context / name


def _pattern(glob: str) -> re.Pattern[str]:
    words = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|/\*\*|\*\*|\*|\?)", glob)
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts) + "(?:/.*)?")
