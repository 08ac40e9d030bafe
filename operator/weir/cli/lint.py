"""`weir lint`: checks manifests before anything is applied."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from weir.lint import Load, Source

UNREADABLE = 2
"""Exit code when a file cannot be read or an option has no meaning."""

_OURS = re.compile(r"weir\.dev/|kind[\"']?:\s*[\"']?DataContract\b")
"""A file in a folder without this holds nothing that is checked, and may be a template of something else."""

_LEAST_RATE, _MOST_RATE = 1e-6, 1e9
"""Requests a second that may be meant: from one in eleven days to all that there are."""


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def lint(
    *,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Files or folders (every *.yaml and *.yml below); - reads standard input."
        ),
    ],
    output: Annotated[Format, typer.Option("--output", "-o", help="How to print what is found.")] = Format.TEXT,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second for both versions together: can gates pass in time at that rate?"),
    ] = None,
    errors: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Share of stable's requests that are bad, such as 1%, with --rate. By default 1% where versions are "
            "compared, and half of what is allowed where a gate has a bound.",
        ),
    ] = "",
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Code to leave out, such as image-tag. Repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False,
) -> None:
    """Check manifests without a cluster: schema, rules, references, and whether gates can pass in time.

    Objects of other kinds are left alone. Exit codes: 0 no errors, 1 errors, 2 something cannot be read.
    """
    from weir.lint import Options
    from weir.lint import lint as check
    from weir.lint.render import FORMATS

    try:
        options = Options(_load(rate, errors), frozenset(ignore or ()), strict, now=time.time())
    except ValueError as error:
        typer.echo(f"weir lint: {error}", err=True)
        raise typer.Exit(UNREADABLE) from error
    sources, unreadable = _read(files)
    for problem in unreadable:
        typer.echo(f"weir lint: {problem}", err=True)
    report = check(sources, options)
    typer.echo(FORMATS[output.value](report), nl=False)
    if unreadable:
        raise typer.Exit(UNREADABLE)
    if report.errors:
        raise typer.Exit(1)


def _load(rate: float | None, errors: str) -> Load | None:
    from weir.lint import Load

    bad = _share(errors) if errors else None
    if rate is None:
        return None
    if not _LEAST_RATE <= rate <= _MOST_RATE:
        raise ValueError(f"--rate {rate:g} is no number of requests a second")
    return Load(rate, bad)


def _share(errors: str) -> float:
    number, percent = errors.removesuffix("%"), errors.endswith("%")
    try:
        bad = float(number) / (100 if percent else 1)
    except ValueError:
        raise ValueError(f"--errors {errors} is no share; write 1% or 0.01") from None
    if not 0 <= bad < 1:
        raise ValueError(f"--errors {errors} is no share of requests; write 1% or 0.01")
    return bad


def _read(names: list[str]) -> tuple[list[Source], list[str]]:
    """The texts, each once, and what is wrong with those that cannot be read."""
    from weir.lint import Source

    sources: dict[str, Source] = {}
    problems = []
    for name in names:
        for path, found in _files(name):
            if path in sources:
                continue
            try:
                text = (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
                problems.append(f"{path}: {why}")
                continue
            if not found or _OURS.search(text):
                sources[path] = Source("<stdin>" if path == "-" else path, text)
    return list(sources.values()), problems


def _files(name: str) -> Iterator[tuple[str, bool]]:
    """Paths, and whether each was found in a folder rather than named."""
    folder = Path(name)
    if name == "-" or not folder.is_dir():
        yield name, False
        return
    for path in sorted(p for p in folder.rglob("*") if p.suffix in {".yaml", ".yml"} and p.is_file()):
        yield str(path), True
