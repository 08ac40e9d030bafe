"""The operator process: one leader reconciles, the others stand by with warm caches."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp

from weir import __version__
from weir.api.agentpolicy import PAUSED_LABEL
from weir.controller.act import SOON, Actor
from weir.controller.actions import RequestReconciler
from weir.controller.agentcontrol import AgentControl
from weir.controller.bindings import bind, expiries, fits
from weir.controller.contractbook import ContractBook
from weir.controller.contractcontrol import ContractControl
from weir.controller.declarations import in_use, modelversion_status, serves, support_changes_in
from weir.controller.guardrails import AdmissionProbe
from weir.controller.metrics import ReleaseMetrics
from weir.controller.observe import Observer
from weir.controller.reconcile import RolloutReconciler
from weir.controller.routing import affected
from weir.controller.settings import Settings
from weir.controller.warmth import Warmth
from weir.evidence.budget import BudgetReader
from weir.evidence.collector import Collector, RolloutKey
from weir.evidence.metrics import EvidenceMetrics
from weir.notify.ledger import LedgerStore
from weir.notify.metrics import NotifyMetrics
from weir.notify.notifier import Notifier
from weir.runtime.cache import Cache, EventType, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.clock import SystemClock
from weir.runtime.events import EventWriter
from weir.runtime.health import HealthServer, LoopLag, ready_check, reconcile_check
from weir.runtime.lease import LeaderElector
from weir.runtime.metrics import Metrics
from weir.runtime.reconciler import Controller
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTP_ROUTES,
    JOBS,
    MODEL_VERSIONS,
    NAMESPACES,
    OPERATOR_LEASE,
    PODS,
    ROLLOUT_RECORDS,
    ROLLOUTS,
    SERVICES,
    KubeObject,
    ObjectKey,
    Resource,
    key_of,
)
from weir.runtime.telemetry import ReconcileScope, setup_logging, setup_tracing
from weir.runtime.watch import Watched, WatchSource
from weir.workload.checkjob import LABEL_CONTRACT
from weir.workload.manifests import LABEL_ROLLOUT

_log = logging.getLogger(__name__)

WATCHED = (
    Watched(ROLLOUTS),
    Watched(MODEL_VERSIONS),
    Watched(ACTION_REQUESTS),
    Watched(ROLLOUT_RECORDS),
    Watched(DATA_CONTRACTS),
    Watched(CONTRACT_CHECKS),
    Watched(CONTROLLER_REVISIONS, LABEL_CONTRACT),
    Watched(JOBS, LABEL_CONTRACT),
    Watched(AGENT_POLICIES),
    Watched(CLUSTER_AGENT_POLICIES),
    # Only those whose agents are stopped.
    Watched(NAMESPACES, PAUSED_LABEL),
    Watched(DEPLOYMENTS, LABEL_ROLLOUT),
    Watched(PODS, LABEL_ROLLOUT),
    Watched(SERVICES),
    Watched(ENDPOINT_SLICES),
    Watched(HTTP_ROUTES),
    # Gateways often live in a namespace of their own.
    Watched(GATEWAYS, everywhere=True),
    Watched(GATEWAY_CLASSES),
)

_RETRY = 5.0
"""Seconds after which the API server is asked again to confirm what is granted."""

_GRACE = 10.0
"""Seconds that running reconciles get at the end."""


class Process:
    """Everything that runs in one operator process."""

    def __init__(
        self, settings: Settings, client: KubeClient, session: aiohttp.ClientSession, metrics: Metrics
    ) -> None:
        """Wires the parts; nothing runs yet."""
        self._client = client
        self._metrics = metrics
        self.cache = Cache(metrics=metrics)
        self.guard = StaleGuard(self.cache, metrics=metrics)
        self.tracing = setup_tracing("weir-operator", __version__, instance=settings.identity)
        self.elector = LeaderElector(
            client,
            name=OPERATOR_LEASE,
            namespace=settings.lease_namespace,
            identity=settings.identity,
            on_lost=lambda: os._exit(1),
            metrics=metrics,
        )
        client.fence = self.elector.seconds_left
        self.source = WatchSource(
            client,
            WATCHED,
            self.cache,
            self._changed,
            namespaces=settings.namespaces,
            guard=self.guard,
            install_signals=self.take_signals,
            metrics=metrics,
        )
        self.stopping = asyncio.Event()
        reads = EvidenceMetrics(metrics.registry)
        self.collector = Collector(SystemClock(), on_change=self._evidence, metrics=reads)
        self.budgets = BudgetReader(SystemClock(), on_change=self._evidence, metrics=reads)
        self._observer = Observer(self.cache, time.time, lambda: self.source.missing, self.guard.is_stale)
        self._actor = Actor(client, self.cache, self.guard, self._observer, settings.image)
        self.book = ContractBook(client, self.cache, self.guard, time.time)
        released = ReleaseMetrics(metrics.registry)
        self.notifier = Notifier(
            settings.notifications,
            LedgerStore(client, settings.lease_namespace),
            session,
            resync=self._all_told,
            metrics=NotifyMetrics(metrics.registry),
        )
        self._rollouts = RolloutReconciler(
            cache=self.cache,
            guard=self.guard,
            observer=self._observer,
            actor=self._actor,
            collector=self.collector,
            budgets=self.budgets,
            warmth=Warmth(session, self.add),
            book=self.book,
            probe=AdmissionProbe(client, self._vouched),
            notifier=self.notifier,
            events=EventWriter(client, controller="weir.dev/rollout", instance=settings.identity, metrics=metrics),
            metrics=released,
            tracer=self.tracing.tracer,
        )
        self._contracts = ContractControl(
            client=client,
            cache=self.cache,
            guard=self.guard,
            actor=self._actor,
            observer=self._observer,
            book=self.book,
            settings=settings,
            metrics=metrics,
            reads=reads,
            add=self.add,
        )
        self.agents = AgentControl(
            client=client,
            cache=self.cache,
            guard=self.guard,
            actor=self._actor,
            book=self.book,
            notifier=self.notifier,
            settings=settings,
            metrics=metrics,
            missing=lambda: self.source.missing,
            add=self.add,
        )
        requests = RequestReconciler(
            client=client,
            cache=self.cache,
            guard=self.guard,
            actor=self._actor,
            metrics=released,
            missing=lambda: self.source.missing,
            keep_for=settings.keep_requests,
        )
        self.controllers: dict[Resource, Controller] = {
            ROLLOUTS: self._controller("rollout", self._reconcile_rollout),
            ACTION_REQUESTS: self._controller("actionrequest", requests),
            MODEL_VERSIONS: self._controller("modelversion", self._reconcile_version),
            DATA_CONTRACTS: self._controller("datacontract", self._contracts.contract),
            CONTRACT_CHECKS: self._controller("contractcheck", self._contracts.check),
            AGENT_POLICIES: self._controller("agentpolicy", self.agents.policy),
            CLUSTER_AGENT_POLICIES: self._controller("clusteragentpolicy", self.agents.cluster),
        }
        self._leading = False

    def _controller(
        self, name: str, reconcile: Callable[[ObjectKey, ReconcileScope], Awaitable[float | None]]
    ) -> Controller:
        return Controller(name, reconcile, tracer=self.tracing.tracer, metrics=self._metrics)

    def add(self, key: ObjectKey) -> None:
        """Puts an object in line, if we lead."""
        if self._leading:
            self.controllers[key.resource].queue.add(key)

    def _changed(self, resource: Resource, obj: KubeObject, change: EventType) -> None:
        for key in affected(self.cache, resource, obj, change):
            self.add(key)

    def _evidence(self, place: RolloutKey) -> None:
        self.add(ObjectKey(ROLLOUTS, *place))

    def _all_told(self) -> None:
        """Everything that people are told of is looked at again."""
        for resource in (ROLLOUTS, AGENT_POLICIES):
            for key in self.cache.keys(resource):
                self.add(key)

    def _vouched(self, namespace: str) -> None:
        """The API server's answer about requesters in a namespace has changed."""
        for rollout in self.cache.select(ROLLOUTS, namespace):
            if rollout["spec"].get("approvals"):
                self.add(key_of(ROLLOUTS, rollout))

    async def _reconcile_rollout(self, key: ObjectKey, scope: ReconcileScope) -> float | None:
        confirmed = await self._observer.confirm(self._client, key)
        again = await self._rollouts(key, scope)
        return again if confirmed else min(_RETRY, again if again is not None else _RETRY)

    async def _reconcile_version(self, key: ObjectKey, _scope: ReconcileScope) -> float | None:
        obj = self.cache.get(MODEL_VERSIONS, key.namespace, key.name)
        if obj is None:
            return None
        rollouts = self.cache.select(ROLLOUTS, key.namespace)
        users, serving = in_use(key.name, rollouts), serves(key.name, rollouts)
        now = time.time()
        binding = bind(obj, self.book)
        fit = await asyncio.to_thread(fits, obj, binding, self.book, now) if binding is not None else None
        bound = binding.contracts if binding is not None else None
        status = modelversion_status(obj, users, serving, now, bound=bound, compatible=fit)
        again = await self._write_status(key, obj, status)
        if again is not None:
            return again
        ends = [support_changes_in(obj, now), *(at - now for at in expiries(obj, self.book, now))]
        return min((end for end in ends if end is not None), default=None)

    async def _write_status(self, key: ObjectKey, obj: KubeObject, status: dict[str, object]) -> float | None:
        if self.guard.is_stale(key):
            return SOON
        if (obj.get("status") or {}) != status:
            await self._actor.status(obj, status, key.resource)
        return None

    def take_signals(self) -> None:
        """SIGTERM and SIGINT end the process in order."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self.stopping.set)

    def lead(self) -> None:
        """Starts to reconcile everything there is."""
        self._leading = True
        for resource, controller in self.controllers.items():
            controller.queue.start()
            for key in self.cache.keys(resource):
                controller.queue.add(key)
        self.notifier.start()
        _log.info("leading", extra={"objects": sum(1 for r in self.controllers for _ in self.cache.keys(r))})

    async def stop(self) -> None:
        """Lets running reconciles finish, then gives the Lease back."""
        await asyncio.gather(*(c.queue.shutdown(_GRACE) for c in self.controllers.values() if self._leading))
        await self.notifier.stop()
        await self._contracts.close()
        await self.elector.release()
        self.source.stop()
        self.tracing.shutdown()


async def serve(settings: Settings) -> int:
    """Runs the operator until SIGTERM; returns the exit code."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await KubeClient.connect(metrics=metrics))
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        process = Process(settings, client, session, metrics)
        process.take_signals()
        lag = LoopLag()
        health = HealthServer(
            metrics.registry,
            healthy=[
                lag.check,
                *(reconcile_check(c.name, c.queue.oldest_running, c.deadline) for c in process.controllers.values()),
            ],
            ready=[
                ready_check(
                    lambda: process.source.synced and ROLLOUTS not in process.source.missing,
                    lambda: process.elector.is_leader,
                    lambda: process.elector.in_touch,
                )
            ],
            port=settings.port,
        )
        await health.start()
        stack.push_async_callback(health.stop)
        beside = [
            asyncio.create_task(coroutine, name=name)
            for name, coroutine in (
                ("lag", lag.run()),
                ("watch", process.source.run()),
                ("lease", process.elector.run()),
                ("evidence", process.collector.run()),
                ("budgets", process.budgets.run()),
                ("guardrails", process.agents.run()),
            )
        ]
        starting = asyncio.create_task(_start(process), name="start")
        await process.stopping.wait()
        _log.info("stopping")
        starting.cancel()
        await process.stop()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, starting, return_exceptions=True)
    return 0


async def _start(process: Process) -> None:
    await process.source.wait_synced()
    await process.elector.elected.wait()
    process.lead()


def run() -> int:
    """Entry point of ``weir operator``."""
    try:
        settings = Settings.from_environment()
        setup_logging(settings.log_level)
    except ValueError as error:
        logging.basicConfig(format="%(message)s")
        _log.error("%s", error)
        return 2
    return asyncio.run(serve(settings))
