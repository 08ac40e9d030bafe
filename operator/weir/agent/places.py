"""Places ``${...}`` in the texts of a template, and what they are filled with."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

_PLACE = re.compile(r"\$\{([^{}]*)\}")
_STEPS = re.compile(r"""(?:^|\.)([A-Za-z0-9_-]+)|\[(?:'([^']*)'|"([^"]*)"|([0-9]+))\]""")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")
_KNOWN = {
    "request": ("name",),
    "rollout": ("name",),
    "stable": ("version", "label", "digest"),
    "candidate": ("version", "label", "digest"),
}
_ALL = "parameters.NAME, request.name, rollout.name, stable.version and candidate.version"


class TemplateError(Exception):
    """The template cannot be filled in; the message is a sentence for people."""


def places(text: str) -> tuple[str, ...]:
    """What stands between ``${`` and ``}`` in a text."""
    return tuple(_PLACE.findall(text))


def place_problem(place: str, parameters: Collection[str], *, finished: bool = False) -> str:
    """Why nothing can stand at a place; empty where something can. ``finished``: the object is known."""
    steps = _steps(place)
    if steps and steps[0] == "object" and finished:
        return "" if len(steps) > 1 else "${object} is no text; name something of it, such as ${object.status.PATH}"
    if len(steps) == 2 and steps[0] == "parameters":
        return "" if steps[1] in parameters else f"${{{place}}}: no permit of the template has the parameter {steps[1]}"
    if len(steps) == 2 and steps[1] in _KNOWN.get(steps[0], ()):
        return ""
    more = "; also object.PATH" if finished else ""
    return f"${{{place}}} is not known; known are {_ALL}{more}"


def parameter_of(place: str) -> str | None:
    """Name of the parameter that stands at a place; None where something else does."""
    steps = _steps(place)
    return steps[1] if len(steps) == 2 and steps[0] == "parameters" else None


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """The value with all places filled; a text that is one place becomes a number, true or false where that is one.

    Raises:
        TemplateError: nothing is known for a place.
    """
    if isinstance(value, Mapping):
        return {key: filled(entry, values) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, values) for entry in value]
    if not isinstance(value, str):
        return value
    text = text_of(value, values)
    return _typed(text) if _PLACE.fullmatch(value) else text


def text_of(text: str, values: Mapping[str, Any]) -> str:
    """The text with all places filled; what is put in is never looked at for places again.

    Raises:
        TemplateError: nothing is known for a place.
    """
    return _PLACE.sub(lambda found: _value(found[1], values), text)


def _value(place: str, values: Mapping[str, Any]) -> str:
    found: Any = values
    for step in _steps(place) or (place,):
        if isinstance(found, Mapping) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            raise TemplateError(f"nothing is known for ${{{place}}}")
    if isinstance(found, str):
        return found
    if isinstance(found, Mapping | list) or found is None:
        raise TemplateError(f"${{{place}}} is no text")
    return json.dumps(found)


def _steps(place: str) -> tuple[str, ...]:
    """Steps of a path such as ``object.metadata.annotations['a.b/c']``; none where it is not one."""
    steps, at = [], 0
    while at < len(place):
        found = _STEPS.match(place, at)
        if found is None:
            return ()
        steps.append(next(part for part in found.groups() if part is not None))
        at = found.end()
    return tuple(steps)


def _typed(text: str) -> str | int | float | bool:
    """The value that a text stands for in JSON, where that is a number, true or false."""
    if text in ("true", "false"):
        return text == "true"
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    return float(text) if found[2] else int(text)
