"""Why counts could not be read, worded for people: the text ends up in the status of a gate."""

from __future__ import annotations

from typing import ClassVar


class ReadError(Exception):
    """No answer that could be used. ``result`` is the label of the metric that counts reads."""

    result: ClassVar[str] = "error"


class DataError(ReadError):
    """There was an answer, and what it says cannot be evidence (NaN, several series, not a metrics page …)."""

    result: ClassVar[str] = "invalid"


class PodUnreachable(ReadError):
    """The pod's metrics page did not answer, or answered with an HTTP error."""

    result: ClassVar[str] = "unreachable"


class PodTimeout(ReadError):
    """The pod's metrics page did not answer in time."""

    result: ClassVar[str] = "timeout"


class PrometheusUnreachable(ReadError):
    """No connection to the Prometheus."""

    result: ClassVar[str] = "unreachable"


class PrometheusTimeout(ReadError):
    """The Prometheus did not answer in time."""

    result: ClassVar[str] = "timeout"


class PrometheusBadAnswer(DataError):
    """Something answered, but not as a Prometheus does: an HTML page, a wrong path, or an error in the query."""
