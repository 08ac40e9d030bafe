"""Patterns of a contract: only those that every value is matched against in linear time."""

from __future__ import annotations

from collections.abc import Mapping

from weir.contract.patterns import refusal

from .outcome import Undecidable

MAX_PATTERN = 1000

FORMATS: Mapping[str, str] = {
    "email": r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
    "uuid": r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
    "ipv4": r"^((25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})$",
    "hostname": r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s]+$",
    "date": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
    "date-time": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$",
}
"""Formats of texts that are checked, as patterns."""


def _problem(pattern: str) -> str:
    """Why the pattern is none, in words; empty for one that is."""
    said = refusal(pattern)
    wrong, colon, where = said.partition(": ")
    if where.startswith(("(?=", "(?!", "(?<")) or (wrong.startswith("invalid escape") and where[1:2].isdigit()):
        return f"the pattern has {where[:40]}, but RE2 has no look-around and no back-references: say it without"
    return f"the pattern is no regular expression: {wrong}" + (f" at {where[:60]}" if colon else "") if said else ""


def safe(pattern: str) -> str:
    """The pattern, if RE2 takes it: then no text makes matching slow.

    Raises:
        Undecidable: it is too long, is no pattern, or needs look-around or back-references.
    """
    if len(pattern) > MAX_PATTERN:
        raise Undecidable(f"the pattern is longer than {MAX_PATTERN} characters")
    if problem := _problem(pattern):
        raise Undecidable(problem)
    return pattern
