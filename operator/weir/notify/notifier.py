"""Notifications as a whole: what reconciles offer is told to people, beside the loop and never in its way.

Guarantee, per destination: an alert is sent at least once, if its receiver takes it within ``giveUpAfter`` and at most
a day lies between what happened and the sending. It is sent twice only if the operator dies between the receiver's
answer and the write of the ledger that follows it at once, or if the answer was lost; both carry the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence, Set
from functools import partial
from pathlib import Path

import aiohttp

from weir.api.rolloutstatus import RolloutStatus
from weir.notify.alerts import Alert, Subject, alerts
from weir.notify.config import Config, ConfigError, Files, Target, parse, read, targets
from weir.notify.destination import Courier
from weir.notify.ledger import Ledger, LedgerStore
from weir.notify.metrics import NotifyMetrics
from weir.notify.sender import Sender, sender_for
from weir.notify.templates import Templates
from weir.runtime.clock import Clock, SystemClock
from weir.runtime.errors import ApiError

_log = logging.getLogger(__name__)

_LOOK = 10.0
"""Seconds between two looks at the mounted files."""

_TICK = 1.0
_STORE_AGAIN = 5.0
"""Seconds after which a write of the ledger that failed is repeated."""

_LAST = 5.0
"""Seconds that the last write of the ledger may take."""

Ways = Callable[[Target, Templates, str], Sender]
"""Gives the way to a destination; the text is the cluster's name. Raises ConfigError."""


class Notifier:
    """Only the leader's runs; ``offer`` before that, or without destinations, does nothing."""

    def __init__(
        self,
        folder: Path | None,
        store: LedgerStore,
        session: aiohttp.ClientSession,
        *,
        resync: Callable[[], None],
        metrics: NotifyMetrics | None = None,
        clock: Clock | None = None,
        ways: Ways | None = None,
    ) -> None:
        """``folder``: with ``config/config.yaml`` and ``secrets/``; without one nobody is told anything.

        ``resync`` is called when everything is to be offered anew.
        """
        self._folder, self._store, self._resync = folder, store, resync
        self._metrics = metrics if metrics is not None else NotifyMetrics()
        self._clock = clock if clock is not None else SystemClock()
        self._ways = ways if ways is not None else lambda target, texts, name: sender_for(target, session, texts, name)
        self._files: Files | None = None
        self._shared: object = None
        """What all senders share of the configuration; with it they are made anew."""
        self._ledger: Ledger | None = None
        self._couriers: dict[str, Courier] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lasting: dict[Subject, tuple[Alert, ...]] = {}
        """Problems that have not lasted long enough to be told."""
        self._kick = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # What reconciles call

    def offer(self, subject: Subject, status: RolloutStatus) -> None:
        """What that status tells goes to whoever is to hear it and has not heard it. Never raises, never waits."""
        self.tell(subject, lambda since: alerts(subject, status, since))

    def tell(self, subject: Subject, alerts_since: Callable[[float], Sequence[Alert]]) -> None:
        """The same for any alerts that are all there is to tell of an object, given since when (epoch seconds)."""
        if self._ledger is None or not self._couriers:
            return
        try:
            self._take(subject, alerts_since(self._ledger.since))
        except Exception:  # telling people must never fail a reconcile
            _log.exception("no notification could be made", extra={"subject": subject.name})

    def forget(self, subject: Subject) -> None:
        """The Rollout is gone: nobody needs to be called for it any more."""
        self._lasting.pop(subject, None)
        self._withdraw(subject, frozenset())

    def _take(self, subject: Subject, found: Sequence[Alert]) -> None:
        now = self._now()
        young = tuple(alert for alert in found if alert.lasting and now - alert.at < alert.lasting)
        if young:
            self._lasting[subject] = young
        else:
            self._lasting.pop(subject, None)
        self._withdraw(subject, {alert.id for alert in found})
        for alert in found:
            if alert not in young:
                self._send(alert)

    def _withdraw(self, subject: Subject, current: Set[str]) -> None:
        """Takes back calls for a person's help that are over and were not sent yet."""
        for courier in self._couriers.values():
            courier.withdraw(lambda alert: not alert.wait or alert.subject.uid != subject.uid or alert.id in current)

    def _send(self, alert: Alert) -> None:
        for name, courier in self._couriers.items():
            if self._ledger is not None and courier.destination.wants(alert) and not self._ledger.settled(name, alert):
                courier.offer(alert)

    # What runs beside

    def start(self) -> None:
        """Begins to run; to be called once this process leads."""
        if self._folder is None:
            return
        self._task = asyncio.create_task(self._run(self._folder), name="notifications")
        self._task.add_done_callback(partial(_died, "all of it"))

    async def stop(self) -> None:
        """Ends, and stores the last of what was told; to be called while the Lease is still held."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._ledger is not None and self._ledger.changed:
            try:
                await asyncio.wait_for(self._store.save(self._ledger), _LAST)
            except (ApiError, TimeoutError) as error:
                _log.warning("what was told could not be stored: %s", error)

    async def _run(self, folder: Path) -> None:
        """Loads what was told, follows the files, stores what is told."""
        self._ledger = await self._load()
        keeper = asyncio.create_task(self._keep(), name="notified")
        keeper.add_done_callback(partial(_died, "ledger"))
        looked: float | None = None
        try:
            while True:
                now = self._clock.monotonic()
                if looked is None or now - looked >= _LOOK:
                    looked = now
                    await self._follow(folder)
                self._tell_lasting()
                await self._clock.sleep(_TICK)
        finally:
            keeper.cancel()
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(keeper, *self._tasks.values(), return_exceptions=True)

    async def _load(self) -> Ledger:
        while True:
            try:
                return await self._store.load()
            except ApiError as error:
                _log.warning("what was told before cannot be read, nothing is told meanwhile: %s", error)
                await self._clock.sleep(_STORE_AGAIN)

    async def _keep(self) -> None:
        """Stores the ledger as soon as it changes; what changes during a write goes into the next."""
        while True:
            await self._kick.wait()
            self._kick.clear()
            try:
                if self._ledger is not None and self._ledger.changed:
                    await self._store.save(self._ledger)
            except ApiError as error:
                _log.warning("what was told could not be stored, a restart may tell it again: %s", error)
                await self._clock.sleep(_STORE_AGAIN)
                self._kick.set()

    def _settled(self, name: str, done: Sequence[Alert]) -> None:
        if self._ledger is not None:
            self._ledger.settle(name, done, self._now())
            self._kick.set()

    def _tell_lasting(self) -> None:
        now = self._now()
        for subject, young in list(self._lasting.items()):
            for alert in young:
                if now - alert.at >= alert.lasting:
                    self._send(alert)
            left = tuple(alert for alert in young if now - alert.at < alert.lasting)
            if left:
                self._lasting[subject] = left
            else:
                del self._lasting[subject]

    def _now(self) -> float:
        return self._clock.now().timestamp()

    # The files

    async def _follow(self, folder: Path) -> None:
        try:
            await self._look(folder)
        except Exception:  # a mistake here must not end what works; it is seen again at the next change
            _log.exception("notifications: the configuration could not be taken over")

    async def _look(self, folder: Path) -> None:
        """Follows the files; what cannot be used is named, and what worked before goes on."""
        try:
            files = await asyncio.to_thread(read, folder)
        except OSError as error:
            self._problems([f"the files in {folder} cannot be read: {error.strerror}"])
            return
        if files == self._files:
            return
        self._files = files
        try:
            config = parse(files)
        except ConfigError as error:
            self._problems([f"{error}; the configuration before it stays in force"])
            return
        await self._use(config, files)

    async def _use(self, config: Config, files: Files) -> None:
        good, problems = targets(config, files)
        templates = Templates(config.templates, config.cluster, self._metrics)
        problems = [*problems, *templates.problems]
        shared = (config.templates, config.cluster)
        afresh, self._shared = shared != self._shared, shared
        couriers: dict[str, Courier] = {}
        for target in good:
            old = self._couriers.get(target.destination.name)
            if old is not None and old.target == target and not afresh:
                couriers[target.destination.name] = old
                continue
            try:
                # Some clients need a while to load.
                sender = await asyncio.to_thread(self._ways, target, templates, config.cluster)
            except ConfigError as error:
                problems.append(str(error))
                continue
            made = Courier(target, sender, self._settled, clock=self._clock, metrics=self._metrics)
            couriers[target.destination.name] = made
        await self._replace(couriers, config)
        self._problems(problems)

    async def _replace(self, couriers: dict[str, Courier], config: Config) -> None:
        """Lets the new ones go on where the old ones stopped."""
        for name, old in list(self._couriers.items()):
            if couriers.get(name) is old:
                continue
            task = self._tasks.pop(name)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if name in couriers:
                for alert in filter(couriers[name].destination.wants, old.pending):
                    couriers[name].offer(alert)
            else:
                self._metrics.forget(name)
        self._couriers = couriers
        for name, courier in couriers.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(courier.run(), name=f"notify-{name}")
                self._tasks[name].add_done_callback(partial(_died, name))
        if self._ledger is not None:
            # By what is configured, not by what can be used: a key that is missing for a while must not lose anything.
            self._ledger.keep((d.name for d in config.destinations), self._now())
            if self._ledger.changed:
                self._kick.set()
        _log.info("notifications", extra={"destinations": sorted(couriers)})
        if couriers:
            self._resync()

    def _problems(self, problems: Sequence[str]) -> None:
        self._metrics.problems.set(len(problems))
        for problem in problems:
            _log.error("notifications: %s", problem)


def _died(name: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a part of the notifications has ended", extra={"part": name}, exc_info=task.exception())
