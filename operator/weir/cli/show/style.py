"""Colours of words; none of them says anything that the word does not."""

from __future__ import annotations

_GOOD, _BUSY, _CARE, _BAD = "green", "cyan", "yellow", "red"

_STYLES = {
    "Promoted": _GOOD,
    "Pass": _GOOD,
    "Granted": _GOOD,
    "Succeeded": _GOOD,
    "Restored": _CARE,
    "Drilled": _CARE,
    "Preflight": _BUSY,
    "WarmUp": _BUSY,
    "Shifting": _BUSY,
    "Bake": _BUSY,
    "Pending": _CARE,
    "Insufficient": _BUSY,
    "NoData": _CARE,
    "Unknown": _CARE,
    "Warn": _CARE,
    "Held": _CARE,
    "AwaitingApproval": _CARE,
    "Waiting": _CARE,
    "Paused": _CARE,
    "Superseded": _CARE,
    "Reverted": _CARE,
    "Expired": _CARE,
    "RollingBack": _BAD,
    "RolledBack": _BAD,
    "Aborted": _BAD,
    "Fail": _BAD,
    "Error": _BAD,
    "Refused": _BAD,
}


def style_of(word: str) -> str:
    """Colour of a phase, verdict, state or outcome; empty for any other word."""
    return _STYLES.get(word, "")
