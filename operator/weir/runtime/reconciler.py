"""Runs one reconcile function over a keyed queue: deadline, span, metrics, and what each kind of error means."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from opentelemetry.trace import Tracer

from .clock import Clock, SystemClock
from .errors import ApiError, Conflict, Fenced, Starting, Throttled
from .metrics import Metrics
from .queue import Backoff, KeyedQueue
from .resources import ObjectKey
from .telemetry import ReconcileScope, reconcile_span

_log = logging.getLogger(__name__)

Result = Literal["success", "error", "requeue", "requeue_after"]
Reconcile = Callable[[ObjectKey, ReconcileScope], Awaitable[float | None]]
"""Brings one object forward; returns the seconds until it wants to look again by itself, or None."""

_FENCED_SECONDS = 1.0
"""Seconds after which work is looked at again whose write was not sent for want of leadership."""

_STARTING_SECONDS = 2.0
"""Seconds after which an API server that has just started is asked again."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Result
    again: float | None = None


class Controller:
    """One kind, one queue, one reconcile function.

    Errors: a Conflict is looked at again silently; a terminal error (the API server refused the content) is logged and
    waits for a change of the object, since the reconcile has stated it in a condition; everything else backs off.
    """

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        tracer: Tracer,
        workers: int = 4,
        deadline: float = 30.0,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Prepare.

        Args:
            name: of the controller, in metrics, logs and spans.
            reconcile: what to run.
            tracer: for one span each reconcile.
            workers: reconciles at once.
            deadline: seconds after which a reconcile is cut off.
            backoff: after errors.
            clock: time.
            metrics: where to count.
        """
        self.name = name
        self.deadline = deadline
        self._reconcile = reconcile
        self._tracer = tracer
        self._clock = clock if clock is not None else SystemClock()
        self._metrics = metrics if metrics is not None else Metrics()
        self._metrics.max_workers.labels(name).set(workers)
        self.queue: KeyedQueue[ObjectKey] = KeyedQueue(
            name, self._work, workers=workers, backoff=backoff, clock=self._clock, metrics=self._metrics
        )

    async def _work(self, key: ObjectKey) -> None:
        active = self._metrics.active_workers.labels(self.name)
        started = self._clock.monotonic()
        with reconcile_span(self._tracer, self.name, key.namespace, key.name) as scope, active.track_inprogress():
            outcome = await self._judge(key, scope)
            seconds = self._clock.monotonic() - started
            self._metrics.reconcile_seconds.labels(self.name).observe(seconds, {"trace_id": scope.trace_id})
            self._metrics.reconciles.labels(self.name, outcome.result).inc()
            scope.span.set_attribute("weir.result", outcome.result)
        if outcome.again is not None:
            self.queue.add_after(key, outcome.again)

    async def _judge(self, key: ObjectKey, scope: ReconcileScope) -> _Outcome:
        try:
            async with asyncio.timeout(self.deadline) as limit:
                again = await self._reconcile(key, scope)
        except Conflict as exc:
            _log.debug("written by somebody else meanwhile: %s", exc)
            self.queue.retry(key)
            return _Outcome("requeue")
        except ApiError as exc:
            return self._api_error(key, scope, exc)
        except TimeoutError as exc:
            if limit.expired():
                self._metrics.reconcile_timeouts.labels(self.name).inc()
                _log.error("reconcile cut off after %g s", self.deadline)
            return self._unexpected(key, scope, exc, expected=limit.expired())
        except Exception as exc:
            return self._unexpected(key, scope, exc)
        return _Outcome("success") if again is None else _Outcome("requeue_after", again)

    def _api_error(self, key: ObjectKey, scope: ReconcileScope, exc: ApiError) -> _Outcome:
        scope.span.record_exception(exc)
        self._metrics.reconcile_errors.labels(self.name).inc()
        if isinstance(exc, Fenced):
            # The next leader does it; or this process, if it renews its Lease after all: nothing else wakes the key.
            self.queue.retry(key, _FENCED_SECONDS)
            return _Outcome("error")
        if isinstance(exc, Starting):
            # It passes by itself; with growing pauses a rollback could wait twice as long as that takes.
            _log.warning("%s; again in %g s", exc, _STARTING_SECONDS)
            return _Outcome("error", _STARTING_SECONDS)
        if exc.terminal:
            self._metrics.terminal_errors.labels(self.name).inc()
            _log.error("refused, waiting for a change: %s", exc)
            return _Outcome("error")
        wait = exc.retry_after or 0.0 if isinstance(exc, Throttled) else 0.0
        delay = self.queue.retry(key, wait)
        _log.warning("%s; again in %.3f s", exc, delay)
        return _Outcome("error")

    def _unexpected(self, key: ObjectKey, scope: ReconcileScope, exc: Exception, *, expected: bool = False) -> _Outcome:
        scope.span.record_exception(exc)
        self._metrics.reconcile_errors.labels(self.name).inc()
        delay = self.queue.retry(key)
        if not expected:
            self._metrics.reconcile_panics.labels(self.name).inc()
            _log.error("reconcile failed unexpectedly, again in %.3f s", delay, exc_info=exc)
        return _Outcome("error")
