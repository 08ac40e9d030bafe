"""Outer bounds of a cluster for the tests of a block: they narrow every policy there is, so none may stay behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.lab import Lab
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import AGENT_POLICIES, CLUSTER_AGENT_POLICIES

_PROBE = {"subjects": [{"kind": "User", "name": "nobody"}], "permits": [{"name": "probe", "action": "Skip"}]}
"""A policy that no test's outer bounds allow: Skip, as often as one likes, and without anybody's consent."""


@contextmanager
def bounded(lab: Lab, spec: Mapping[str, Any]) -> Iterator[None]:
    """The ClusterAgentPolicy is in force during the block, and gone after it, whoever changed it meanwhile."""
    bound(lab, spec)
    try:
        yield
    finally:
        unbound(lab)


def bound(lab: Lab, spec: Mapping[str, Any]) -> None:
    """Writes the ClusterAgentPolicy, and returns once the API server's policies know that there is one."""
    found = lab.api.find(CLUSTER_AGENT_POLICIES, None, POLICY_NAME)
    if found is None:
        lab.api.create(CLUSTER_AGENT_POLICIES, {"metadata": {"name": POLICY_NAME}, "spec": spec})
    else:
        lab.api.call("PUT", CLUSTER_AGENT_POLICIES.path(None, POLICY_NAME), {**found, "spec": spec})
    eventually(lambda: _known(lab.api), "outer bounds are known")


def unbound(lab: Lab) -> None:
    """Deletes the ClusterAgentPolicy where there is one, and returns once the API server's policies know it."""
    # Of the collection: none to delete is no failure.
    lab.api.call("DELETE", CLUSTER_AGENT_POLICIES.path(None))
    eventually(lambda: not _known(lab.api), "no outer bounds are known")


def _known(api: Api) -> bool:
    body = {
        "apiVersion": AGENT_POLICIES.api_version,
        "kind": AGENT_POLICIES.kind,
        "metadata": {"name": POLICY_NAME, "namespace": "default"},
        "spec": _PROBE,
    }
    try:
        api.call("POST", AGENT_POLICIES.path("default"), body, dryRun="All")
    except Failure as failure:
        if "Outer" in failure.message:
            return True
        raise
    return False
