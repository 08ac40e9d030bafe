"""Reconciling an AgentPolicy: observe, decide, write the ledger, and only then act on it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

from weir.agent.decide import decide
from weir.agent.decision import AgentDecision, AgentNote
from weir.agent.observation import AgentObservation
from weir.api.action import TemplateAction
from weir.api.agentpolicy import POLICY_NAME, AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus
from weir.controller.act import SOON, Actor
from weir.controller.agentact import AgentActor, said
from weir.controller.agentlive import AgentLive, Made, UnknownKind
from weir.controller.agentmetrics import AgentMetrics
from weir.controller.agentobserve import AgentObserver, Live, policy_of
from weir.controller.memory import Attempts
from weir.controller.observe import finished
from weir.notify.agentalerts import agent_alerts
from weir.notify.alerts import Subject
from weir.notify.notifier import Notifier
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.errors import ApiError, Fenced, Forbidden, Invalid, NamespaceEnding, NotFound, Throttled
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, KubeObject, ObjectKey
from weir.runtime.telemetry import ReconcileScope

_log = logging.getLogger(__name__)

FOLLOW = 10.0
"""Seconds between two looks at what no watch shows: what templates made, and Leases of agents that are silent."""

REFRESH = 10.0
"""Seconds after which what only counts on (tokens, exploration) is written all the same."""

TELL_FIRST, TELL_REST = 2.0, 10.0
"""Seconds that Events may take before the ledger is written, and in the end: who only tells must not hold up acting."""

_SHARE = 4.0
"""A look is followed by a rest this many times as long: every change of a Rollout wakes its policy, and with a thousand
of them looks would otherwise take all the time that there is."""


@dataclass
class _Memory:
    """What may be lost: what did not come about, when the ledger was stored, and until when no look is due."""

    uid: str
    attempts: Attempts = field(default_factory=Attempts)
    stored_at: float = 0.0
    rests_until: float = 0.0


@dataclass(frozen=True)
class _Look:
    """What one reconcile works on. ``old``: the ledger that was decided upon; ``now``: seconds since the epoch."""

    obj: KubeObject
    old: AgentPolicyStatus
    now: float
    memory: _Memory


class AgentReconciler:
    """Brings one AgentPolicy forward; everything that is decided is decided in ``weir.agent``."""

    def __init__(
        self,
        *,
        cache: Cache,
        guard: StaleGuard,
        observer: AgentObserver,
        live: AgentLive,
        actor: Actor,
        agents: AgentActor,
        notifier: Notifier,
        metrics: AgentMetrics,
        wall: Callable[[], float] = time.time,
        core: Callable[[AgentObservation, float], AgentDecision] = decide,
        ready: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``wall``: seconds since the epoch; ``core`` decides; ``ready``: whether the guardrails were looked at."""
        self._cache = cache
        self._guard = guard
        self._observer = observer
        self._live = live
        self._actor = actor
        self._agents = agents
        self._notifier = notifier
        self._metrics = metrics
        self._wall = wall
        self._decide = core
        self._ready = ready
        self._monotonic = monotonic
        self._memories: dict[ObjectKey, _Memory] = {}

    async def __call__(self, key: ObjectKey, scope: ReconcileScope) -> float | None:
        """One look; returns the seconds until time alone changes anything."""
        obj = self._cache.get(*key)
        if obj is None or key.name != POLICY_NAME:
            self._forget(key)
            return None
        if self._guard.is_stale(key) or not self._ready():
            return SOON
        if obj["metadata"].get("deletionTimestamp"):
            return None
        memory = self._memory(key, obj["metadata"]["uid"])
        if (rest := memory.rests_until - self._monotonic()) > 0:
            return rest
        spec, _ = policy_of(obj)
        followed = self._followed(obj, spec)
        heartbeats, objects, identity = await asyncio.gather(
            self._live.heartbeats(key.namespace, spec),
            self._live.objects(key.namespace, followed),
            self._live.identity(),
        )
        refused = memory.attempts.refused()
        live = Live(heartbeats=heartbeats, objects=objects, refused=refused, identity=identity)
        now, began = self._wall(), self._monotonic()
        observation = self._observer.observe(obj, live)
        decision = self._decide(observation, now)
        ended = self._monotonic()
        memory.rests_until = ended + _SHARE * (ended - began)
        try:
            await self._act(_Look(obj, observation.status, now, memory), decision, scope)
        except NamespaceEnding:
            return None
        if memory.attempts.untold:
            return SOON
        wakes = [FOLLOW] if followed or decision.makes or _silent(decision.status) else []
        if (again := memory.attempts.next(self._monotonic())) is not None:
            wakes.append(max(SOON, again))
        if decision.status != observation.status and memory.stored_at != now:
            wakes.append(max(SOON, memory.stored_at + REFRESH - now))
        if decision.wake_at is not None:
            wakes.append(max(SOON, decision.wake_at - now))
        return min(wakes, default=None)

    async def _act(self, look: _Look, decision: AgentDecision, scope: ReconcileScope) -> None:
        """Intent first: nothing is made or asked for that the ledger does not hold. All of it is safe to repeat."""
        obj, old, now, memory = look.obj, look.old, look.now, look.memory
        namespace, new = obj["metadata"]["namespace"], decision.status
        left: Sequence[AgentNote] = ()
        if must_write(old, new, now - memory.stored_at):
            # Before the status: a restart in between tells the same thing under the same name.
            left = await self._agents.tell(obj, decision.notes, scope.traceparent, TELL_FIRST)
            await self._actor.status(obj, new.to_dict(), AGENT_POLICIES)
            memory.stored_at = now
            self._metrics.changed(namespace, old, new, now)
        self._metrics.show(namespace, new, now)
        subject = Subject(namespace, POLICY_NAME, obj["metadata"]["uid"])
        self._notifier.tell(subject, lambda _: agent_alerts(subject, new))
        await self._carry_out(look, decision)
        if left := await self._agents.tell(obj, left, scope.traceparent, TELL_REST):
            _log.warning("no time to tell of %s", ", ".join(sorted({note.reason for note in left})))

    async def _carry_out(self, look: _Look, decision: AgentDecision) -> None:
        """Does what is wanted and writes results; what did not come about last time comes last, and holds up nothing.

        The result of a request whose object was not made is not written.
        """
        attempts, namespace = look.memory.attempts, look.obj["metadata"]["namespace"]
        wanted = dict(self._wanted(namespace, decision))
        attempts.keep(wanted.keys())
        undone, results = {make.uid for make in decision.makes}, list(decision.results)
        late = [what for what in wanted if attempts.failed_before(what)]
        for those in ([what for what in wanted if what not in late], late):
            for what in those:
                if attempts.due(what, self._monotonic()) and await self._attempt(attempts, what, wanted[what]()):
                    undone.discard(what)
            ready = [result for result in results if result.uid not in undone]
            results = [result for result in results if result.uid in undone]
            await self._agents.results(namespace, ready, look.now)

    def _wanted(
        self, namespace: str, decision: AgentDecision
    ) -> Iterator[tuple[str, Callable[[], Awaitable[str | None]]]]:
        """What is to be created or patched, by the name of the proposal or the uid of the request."""
        for proposal in decision.proposals:
            yield proposal.name, partial(self._agents.propose, namespace, proposal)
        for make in decision.makes:
            yield make.uid, partial(self._agents.make, namespace, make)

    async def _attempt(self, attempts: Attempts, what: str, attempt: Awaitable[str | None]) -> bool:
        """Whether it came about; why it did not is remembered. An error of one is no reason to leave out others."""
        try:
            problem = await attempt
        except (NamespaceEnding, Fenced):
            raise
        except (Invalid, Forbidden) as error:
            problem = said(error)
        except (NotFound, UnknownKind) as error:
            attempts.absent(what, said(error), self._monotonic())
            return False
        except ApiError as error:
            least = error.retry_after or 0.0 if isinstance(error, Throttled) else 0.0
            wait = attempts.failed(what, self._monotonic(), least)
            _log.warning("%s; again in %.1f s", error, wait)
            return False
        except asyncio.CancelledError:
            # The look is cut off: the next one must come to what is behind this.
            attempts.failed(what, self._monotonic())
            raise
        if problem is not None:
            attempts.refuse(what, problem, self._monotonic())
            return False
        attempts.done(what)
        return True

    def _followed(self, obj: KubeObject, policy: AgentPolicySpec | None) -> dict[str, tuple[Made, bool]]:
        """What granted requests made by a template, or are about to make; and whether it was seen to be made."""
        granted = {entry["uid"] for entry in (obj.get("status") or {}).get("granted") or ()}
        found: dict[str, tuple[Made, bool]] = {}
        for request in self._cache.select(ACTION_REQUESTS, obj["metadata"]["namespace"]):
            status = request.get("status") or {}
            if request["spec"].get("action") not in get_args(TemplateAction) or finished(request):
                continue
            if request["metadata"]["uid"] not in granted:
                continue
            created = status.get("created") or []
            if created:
                first = created[0]
                made: Made | None = (first["apiVersion"], first["kind"], first["name"])
            else:
                made = to_be_made(request, policy)
            if made is not None:
                found[request["metadata"]["uid"]] = (made, bool(created))
        return found

    def _memory(self, key: ObjectKey, uid: str) -> _Memory:
        found = self._memories.get(key)
        if found is not None and found.uid != uid:
            self._forget(key)  # another one has taken its place
        return self._memories.setdefault(key, _Memory(uid))

    def _forget(self, key: ObjectKey) -> None:
        self._guard.forget(key)
        memory = self._memories.pop(key, None)
        if memory is not None:
            self._notifier.forget(Subject(key.namespace, key.name, memory.uid))
        if key.name == POLICY_NAME:
            self._observer.forget(key.namespace)
            self._live.forget(key.namespace)
            self._metrics.forget(key.namespace)


def _silent(status: AgentPolicyStatus) -> bool:
    """Whether an agent's return is waited for."""
    return any(c.type == "AgentsAlive" and c.status == "False" for c in status.conditions)


def to_be_made(request: KubeObject, policy: AgentPolicySpec | None) -> Made | None:
    """The object that a Retrain will create, or has created just before its result could be written."""
    spec = request["spec"]
    permit = next((p for p in policy.permits if p.name == spec.get("permit")), None) if policy is not None else None
    if policy is None or permit is None or spec.get("action") != "Retrain":
        return None
    template = next((t for t in policy.templates or () if t.name == permit.template), None)
    if template is None or not {"apiVersion", "kind"} <= template.object.keys():
        return None
    return template.object["apiVersion"], template.object["kind"], request["metadata"]["name"]


def must_write(old: AgentPolicyStatus, new: AgentPolicyStatus, age: float) -> bool:
    """Whether the ledger is to be written: at once for what matters, after ``REFRESH`` seconds for what counts on."""
    if old == new:
        return False
    return age >= REFRESH or _significant(old) != _significant(new)


def _significant(status: AgentPolicyStatus) -> AgentPolicyStatus:
    return status.model_copy(update={"bucket": None, "exploration": None})
