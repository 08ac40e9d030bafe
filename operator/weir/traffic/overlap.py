"""Two Rollouts for one endpoint: gateways would quietly let the older route win, so the younger Rollout is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from weir.release.observation import Problem, RolloutView
from weir.traffic.rules import same_rules
from weir.traffic.service import service_name


@dataclass(frozen=True)
class Claimant:
    """A Rollout and when it was created (RFC 3339); ties are broken by name and namespace."""

    rollout: RolloutView
    created: str

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts the oldest first."""
        return self.created, self.rollout.name, self.rollout.namespace


def endpoint_problem(mine: Claimant, others: Iterable[Claimant]) -> Problem | None:
    """The older Rollout that has this one's endpoint already, if any.

    ``others``: all Rollouts that may share a route or a hostname: those of the namespace, and those elsewhere whose
    Gateways are the same; this one may be among them.
    """
    older = [other for other in others if other.rollout.uid != mine.rollout.uid and other.age < mine.age]
    rivals = sorted(other.age[1] for other in older if _same_endpoint(mine.rollout, other.rollout))
    if not rivals:
        return None
    return Problem(
        "EndpointClaimed", f"Rollout {rivals[0]} has the same endpoint and is older; change spec.traffic of one"
    )


def _same_endpoint(left: RolloutView, right: RolloutView) -> bool:
    here, there = left.spec.traffic.gateway, right.spec.traffic.gateway
    if left.spec.traffic.service is not None and right.spec.traffic.service is not None:
        return left.namespace == right.namespace and service_name(left) == service_name(right)
    if here is None or there is None:
        return False
    if here.route_ref is not None or there.route_ref is not None:
        # An adopted route may carry several models; only what names nothing but itself can be told from here.
        return False
    same_matches = same_rules([{"matches": here.route_matches}], [{"matches": there.route_matches}])
    return bool(_parents(left) & _parents(right)) and same_matches and _hosts_meet(here.hostnames, there.hostnames)


def _parents(rollout: RolloutView) -> set[tuple[Any, ...]]:
    gateway = rollout.spec.traffic.gateway
    parents = (gateway.parent_refs if gateway else None) or []
    return {
        (parent.namespace or rollout.namespace, parent.name, parent.section_name, parent.port) for parent in parents
    }


def _hosts_meet(left: list[str] | None, right: list[str] | None) -> bool:
    """Whether two routes share a hostname; one without any takes what its listener takes, so only its likes meet it."""
    if not left or not right:
        return not left and not right
    return bool(set(left) & set(right))
