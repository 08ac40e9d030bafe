"""Which requests a route is for: a match of the Gateway API's HTTPRoute (HTTPRouteMatch, v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from weir.api.base import ApiModel, Text


class PathMatch(ApiModel):
    """By path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] | None = Field(
        default=None, description="type: Exact, PathPrefix (the default) or RegularExpression."
    )
    value: Text | None = Field(default=None, description="value of the path; by default '/'.")


class PairMatch(ApiModel):
    """By a header or a query parameter."""

    type: Literal["Exact", "RegularExpression"] | None = Field(
        default=None, description="type: Exact (the default) or RegularExpression."
    )
    name: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="name of it.")
    value: Annotated[str, Field(min_length=1, max_length=4096)] = Field(description="value of it.")


Pairs = Annotated[list[PairMatch], Field(max_length=16)]
Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class RouteMatch(ApiModel):
    """All that is set must hold."""

    path: PathMatch | None = Field(default=None, description="path of the request; by default every path.")
    headers: Pairs | None = Field(default=None, description="headers that the request must have.")
    query_params: Pairs | None = Field(default=None, description="queryParams that the request must have.")
    method: Method | None = Field(default=None, description="method of the request.")


def canonical_match(match: Mapping[str, Any]) -> dict[str, Any]:
    """A match as the API server understands it: its defaults filled in, what is empty left out."""
    filled = {name: value for name, value in match.items() if value not in (None, [], {})}
    filled["path"] = {"type": "PathPrefix", "value": "/", **(match.get("path") or {})}
    for name in ("headers", "queryParams"):
        if filled.get(name):
            filled[name] = [{"type": "Exact", **item} for item in filled[name]]
    return filled
