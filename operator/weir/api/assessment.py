"""What was found out about an object, as a condition that has no times yet."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Assessment(NamedTuple):
    """A condition without its times: type, status, reason for programs, message for people."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
