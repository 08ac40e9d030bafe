"""Everything of the operator that deals with data contracts, put together."""

from __future__ import annotations

import time
from collections.abc import Callable

from weir.controller.act import Actor
from weir.controller.checkledger import CheckLedger
from weir.controller.checks import CheckReconciler, CheckSettings
from weir.controller.contractbook import ContractBook, contract_of
from weir.controller.contractmetrics import ContractMetrics
from weir.controller.contracts import ContractReconciler
from weir.controller.driftwatch import DriftWatch
from weir.controller.observe import Observer
from weir.controller.revisions import Revisions
from weir.controller.settings import Settings
from weir.evidence.fingerprints import FingerprintReader
from weir.evidence.metrics import EvidenceMetrics
from weir.evidence.prometheus import Prometheus
from weir.evidence.scrape import Scraper
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.clock import SystemClock
from weir.runtime.events import EventWriter
from weir.runtime.metrics import Metrics
from weir.runtime.resources import DATA_CONTRACTS, ObjectKey


class ContractControl:
    """Reconciles DataContracts (``contract``) and ContractChecks (``check``)."""

    def __init__(
        self,
        *,
        client: KubeClient,
        cache: Cache,
        guard: StaleGuard,
        actor: Actor,
        observer: Observer,
        book: ContractBook,
        settings: Settings,
        metrics: Metrics,
        reads: EvidenceMetrics,
        add: Callable[[ObjectKey], None],
    ) -> None:
        """``add``: puts an object in line."""
        self._cache = cache
        self._add = add
        self._scraper, self._prometheus = Scraper(), Prometheus()
        self._revisions = Revisions(client, cache, guard, book, settings.contract_sources)
        events = EventWriter(client, controller="weir.dev/contract", instance=settings.identity, metrics=metrics)
        drift = DriftWatch(
            client=client,
            book=book,
            revisions=self._revisions,
            observer=observer,
            reader=FingerprintReader(SystemClock(), self._scraper, self._prometheus, reads),
        )
        self.check = CheckReconciler(
            client=client,
            cache=cache,
            guard=guard,
            book=book,
            events=events,
            settings=CheckSettings(settings.check_image, settings.check_role, settings.checks_at_once),
            told=self._told,
            profile=drift.profile,
        )
        self.contract = ContractReconciler(
            client=client,
            cache=cache,
            guard=guard,
            actor=actor,
            book=book,
            revisions=self._revisions,
            ledger=CheckLedger(client, cache, book, self.check),
            drift=drift,
            events=events,
            metrics=ContractMetrics(metrics.registry),
            keep_checks=settings.keep_checks,
            wall=time.time,
        )

    def _told(self, key: ObjectKey) -> None:
        """The obstacle of a check has changed: its contract's status says so."""
        check = self._cache.get(*key)
        if check is not None:
            self._add(ObjectKey(DATA_CONTRACTS, key.namespace, contract_of(check)))

    async def close(self) -> None:
        """Ends what runs beside the event loop."""
        self._revisions.close()
        self._prometheus.close()
        await self._scraper.close()
