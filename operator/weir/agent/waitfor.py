"""Requests that wait for each other for ever: the least important one of each circle is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weir.agent.ledger import cooldown_after, pending
from weir.agent.limits import ancestors, leases, too_much_broken
from weir.agent.turn import TEMPLATE_ACTIONS, Turn, is_safe, priority
from weir.api.agentstatus import Waiting

Edges = Mapping[str, Sequence[str]]
"""Uids of those that a request waits for, by its uid."""


def abort(turn: Turn) -> bool:
    """Refuses one request of every circle; whether there was one."""
    found = False
    while (circle := _circle(_stuck(turn, _edges(turn)))) is not None:
        found = True
        _refuse(turn, circle)
    return found


def _edges(turn: Turn) -> Edges:
    """Who waits for whom: a request for those that leave it no room, and a template for what it caused."""
    edges: dict[str, list[str]] = {}
    for uid, entry in turn.waiting.items():
        request = turn.requests.get(uid)
        if request is None or not pending(turn, request):
            continue
        if holders := _holders(turn, entry):
            edges[uid] = sorted(holders)
        for cause in ancestors(turn.requests, request):
            if cause in turn.held and turn.held[cause].action in TEMPLATE_ACTIONS:
                edges.setdefault(cause, []).append(uid)
    return edges


def _holders(turn: Turn, entry: Waiting) -> Sequence[str]:
    """What is under way and alone leaves the request no room: one of these must end; none where it waits for more."""
    if entry.reason == "Concurrency":
        here = leases(turn, entry.rollout)
        if len(here) >= turn.policy.concurrency.per_target:
            return [grant.uid for grant in here]
        if len(turn.held) >= turn.most_at_once:
            return list(turn.held)
        return [grant.uid for grant in here if grant.action == entry.action and cooldown_after(turn, grant.permit)]
    if entry.reason != "BlastRadius" or too_much_broken(turn):
        return ()
    touching = [grant for uid, grant in turn.held.items() if not is_safe(turn, turn.requests[uid])]
    touched = {entry.rollout, *(grant.rollout for grant in touching)}
    return [grant.uid for grant in touching] if len(touched) > turn.most_touched else ()


def _stuck(turn: Turn, edges: Edges) -> Edges:
    """The part of the graph in which nobody can ever go on.

    A request goes on when one of those that it waits for ends; a template when all that it caused has ended.
    """
    stuck = dict(edges)
    while True:
        free = [
            uid
            for uid, others in stuck.items()
            if (any if uid in turn.waiting else all)(other not in stuck for other in others)
        ]
        if not free:
            return {uid: [other for other in others if other in stuck] for uid, others in stuck.items()}
        stuck = {uid: others for uid, others in stuck.items() if uid not in free}


def _circle(edges: Edges) -> tuple[str, ...] | None:
    """Any circle of the graph; None where there is none."""
    done: set[str] = set()
    for start in sorted(edges):
        path: list[str] = []
        found = _walk(edges, start, path, done)
        if found is not None:
            return found
    return None


def _walk(edges: Edges, at: str, path: list[str], done: set[str]) -> tuple[str, ...] | None:
    if at in path:
        return tuple(path[path.index(at) :])
    if at in done:
        return None
    path.append(at)
    for after in edges.get(at, ()):
        found = _walk(edges, after, path, done)
        if found is not None:
            return found
    done.add(path.pop())
    return None


def _refuse(turn: Turn, circle: tuple[str, ...]) -> None:
    """Refuses the one of lowest priority that has not begun; of equal ones the youngest."""
    waiting = [turn.requests[uid] for uid in circle if uid in turn.waiting]
    victim = min(waiting, key=lambda r: (priority(turn, r, turn.waiting[r.uid].overridden_by), -r.created, r.uid))
    names = ", ".join(turn.requests[uid].name for uid in circle if uid in turn.requests)
    told = f"{names} wait for each other for ever; this one has the lowest priority"
    turn.deny(victim, "Deadlock", told)
    turn.note("Deadlock", told, warning=True, rollout=victim.spec.rollout_ref.name, request=victim.name)
