"""Bad objects: a good one, what makes it bad, and the answer that the API server must give."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.api import objects as o

DELETE = object()


def edited(spec: o.Spec, changes: dict[str, Any]) -> o.Spec:
    """A copy of the spec with values set (or with DELETE removed) at dotted paths; numbers are list positions."""
    copy = deepcopy(spec)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node: Any = copy
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        if value is DELETE:
            del node[last]
        elif isinstance(node, list):
            node[int(last) : int(last) + 1] = [value]
        else:
            node[last] = value
    return copy


@dataclass(frozen=True)
class Bad:
    """``changes`` make the good ``base`` bad (with ``update`` once it is stored); ``at`` is the field to be blamed."""

    kind: str
    at: str
    message: str
    changes: dict[str, Any]
    base: o.Spec = field(repr=False)
    update: bool = False
    name: str | None = None

    @property
    def id(self) -> str:
        """A readable name for the test's parameter."""
        how = "+".join(f"{path}{'-' if value is DELETE else ''}" for path, value in self.changes.items())
        return f"{self.kind}: {how or self.name}"

    @property
    def bad(self) -> o.Spec:
        """The spec that must be refused."""
        return edited(self.base, self.changes)


DURATION = "must be a positive duration of at most '8760h' (a year), such as '30s', '5m' or '1h30m'"
OPTIONAL_DURATION = "must be a duration of at most '8760h' (a year), such as '0s', '30s', '5m' or '1h30m'"
NUMBER = "must be a decimal string such as '1.5'"
RATIO = "must be a decimal string between '0' and '1', such as '0.05' for five percent"
DIGEST = "must be 'sha256:' and 64 lower-case hexadecimal digits; `sha256sum FILE` prints them"
NAME = "must be a Kubernetes object name: lower-case letters, digits, '-' and '.'"
TIME = "must be a time after 1970, such as '2030-12-31T23:59:59Z'"
LABEL = "must be a short name: lower-case letters, digits and '-'"
