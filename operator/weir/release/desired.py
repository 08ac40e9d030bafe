"""The cluster that a status asks for: pools, weights, evidence, record. Derived, never remembered."""

from __future__ import annotations

from weir.api.rolloutstatus import RolloutStatus
from weir.release import contracts
from weir.release.decision import Collect, Desired, PoolIntent
from weir.release.plan import planned_replicas
from weir.release.record import record
from weir.release.retained import spare
from weir.release.traffic import SETTLE, intended
from weir.release.turn import Turn


def desired(turn: Turn) -> Desired:
    """What the shell has to bring about for the turn's status."""
    view, status, stage = turn.view, turn.status, turn.stage
    candidate = status.candidate
    running = candidate is not None and status.ending is None
    preview = running and stage is not None and stage.kind == "Preview"
    pool = candidate.pool if candidate is not None else None
    sealed = record(view, status, turn.obs.recorded)
    return Desired(
        finalizer=not (view.deleting and candidate is None and sealed is None),
        pools=_pools(turn),
        remove=_removable(turn),
        weights=intended(_routed(turn), serving=running and status.weight > 0),
        warm_up=pool if running and stage is None and not _waiting(turn) and not status.restoring else None,
        synthetic=pool if preview else None,
        preview=pool if preview else None,
        collect=_collect(turn),
        record=sealed,
        results=tuple(turn.results),
    )


def _waiting(turn: Turn) -> bool:
    """Whether the candidate is held back before anything of it exists."""
    if turn.stage is not None or turn.status.restoring:
        return False
    return bool(turn.obs.blockers) or contracts.waits(turn)


def _routed(turn: Turn) -> RolloutStatus:
    """The status as the route should see it: a route must not name a pool that may not exist."""
    return turn.status.model_copy(update={"candidate": None}) if _waiting(turn) else turn.status


def _pools(turn: Turn) -> tuple[PoolIntent, ...]:
    spec, status, target = turn.view.spec, turn.status, turn.obs.target
    desired_revision = target.revision if target is not None else ""
    intents = []
    if status.stable is not None:
        stable = status.stable
        renderable = stable.revision == desired_revision
        intents.append(PoolIntent(stable.pool, stable.version, stable.revision, spec.replicas, renderable))
    if status.candidate is not None and not _waiting(turn):
        candidate = status.candidate
        replicas = planned_replicas(spec, turn.stage or turn.plan[0])
        by_ratio = spec.traffic.service is not None and status.ending is None
        traffic = status.weight or turn.obs.route.weights.get(candidate.pool)
        if (status.ending is not None or traffic) and not by_ratio:
            # While it carries traffic a version never loses pods; only where pods are the share, fewer mean less of it.
            replicas = max(replicas, turn.obs.pool(candidate.pool).desired)
        renderable = candidate.revision == desired_revision
        intents.append(PoolIntent(candidate.pool, candidate.version, candidate.revision, replicas, renderable))
    removed = set(_removable(turn))
    for kept in status.retained:
        if kept.pool in turn.obs.pools and kept.pool not in removed:
            # Only what has served stays warm, so it goes on at full size: never a count from a look that may be old.
            warm = kept.warm_until > turn.now and not (spec.traffic.service is not None and status.candidate)
            replicas = spec.replicas if warm or turn.obs.route.weights.get(kept.pool) else 0
            intents.append(PoolIntent(kept.pool, kept.version, kept.revision, replicas, False))
    return tuple(intents)


def _removable(turn: Turn) -> tuple[str, ...]:
    """Pools of ours beyond the history limit that have had their drain, without pods and without traffic."""
    beyond = [r.pool for r in spare(turn) if not turn.obs.route.weights.get(r.pool)]
    pools = [turn.obs.pools[name] for name in beyond if name in turn.obs.pools]
    return tuple(pool.name for pool in pools if pool.desired == 0 and not pool.external)


def _collect(turn: Turn) -> Collect | None:
    """Which evidence to gather: first the share of requests, then, once it is right, what the gates ask for."""
    status, stage = turn.status, turn.stage
    state, candidate = status.stage, status.candidate
    if candidate is None or status.ending is not None:
        return None
    if stage is None:
        return _stable_noise(turn)
    if state is None or not stage.judged:
        return None
    stable = status.stable.pool if status.stable is not None and stage.comparative else None
    if state.evidence_from is not None:
        key = f"{status.release}/{state.index}/{round(state.evidence_from * 1000)}"
        return Collect(key, candidate.pool, stable, state.evidence_from, judging=True, release=status.release)
    if state.accepted_at is not None:
        since = state.accepted_at + SETTLE
        return Collect(share_key(status), candidate.pool, stable, since, judging=False, release=status.release)
    return None


def _stable_noise(turn: Turn) -> Collect | None:
    """Before any traffic reaches the candidate: how noisy stable is, for gates that will compare with it."""
    status, since = turn.status, turn.status.release_started_at
    if status.stable is None or since is None or turn.obs.blockers or status.restoring:
        return None
    if all(gate.comparison is None for gate in turn.view.spec.gates):
        return None
    return Collect(f"{status.release}/before", "", status.stable.pool, since, judging=False, release=status.release)


def share_key(status: RolloutStatus) -> str:
    """Key of the collection that measures the share of requests in the status's stage; empty while there is none."""
    stage = status.stage
    if stage is None or stage.accepted_at is None:
        return ""
    return f"{status.release}/{stage.index}/share/{round(stage.accepted_at * 1000)}"
