import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from weir.runtime import errors
from weir.runtime.metrics import Metrics
from weir.runtime.queue import Backoff
from weir.runtime.reconciler import Controller, Reconcile
from weir.runtime.resources import ROLLOUTS, ObjectKey
from weir.runtime.telemetry import ReconcileScope, setup_tracing

from .fakes import FakeClock, until

KEY = ObjectKey(ROLLOUTS, "ml", "digits")


@asynccontextmanager
async def running(reconcile: Reconcile, clock: FakeClock, metrics: Metrics) -> AsyncIterator[Controller]:
    controller = Controller(
        "rollout",
        reconcile,
        tracer=setup_tracing("weir", "1", environ={}).tracer,
        deadline=0.05,
        backoff=Backoff(base=1.0, cap=60.0, jitter=0.0),
        clock=clock,
        metrics=metrics,
    )
    controller.queue.start()
    controller.queue.add(KEY)
    try:
        yield controller
    finally:
        stopping = asyncio.create_task(controller.queue.shutdown(1.0))
        await clock.advance(2.0)
        await stopping


class Script:
    """A reconcile that plays one outcome after the other, then succeeds."""

    def __init__(self, *outcomes: Exception | float | None) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    async def __call__(self, key: ObjectKey, scope: ReconcileScope) -> float | None:
        assert key == KEY
        assert scope.trace_id
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def results(metrics: Metrics) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in metrics.reconciles.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                found[sample.labels["result"]] = sample.value
    return found


def count(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"controller_runtime_{name}_total", {"controller": "rollout"}) or 0.0


async def test_given_success_when_reconciled_then_it_rests_until_the_time_it_asked_for(
    clock: FakeClock, metrics: Metrics
) -> None:
    script = Script(30.0, None)
    async with running(script, clock, metrics):
        await clock.advance(29.0)
        assert script.calls == 1
        await clock.advance(100.0)
    assert script.calls == 2
    assert results(metrics) == {"requeue_after": 1, "success": 1}


async def test_given_a_conflict_when_reconciled_then_it_is_retried_and_is_no_error(
    clock: FakeClock, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(errors.Conflict("changed", status=409))
    async with running(script, clock, metrics):
        await clock.advance(1.1)
    assert results(metrics) == {"requeue": 1, "success": 1}
    assert count(metrics, "reconcile_errors") == 0
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


async def test_given_refused_content_when_reconciled_then_it_is_not_retried(clock: FakeClock, metrics: Metrics) -> None:
    script = Script(errors.Invalid("spec.a: too big", status=422))
    async with running(script, clock, metrics):
        await clock.advance(10_000.0)
    assert script.calls == 1
    assert count(metrics, "terminal_reconcile_errors") == 1


async def test_given_a_lease_renewed_late_when_a_write_was_held_back_then_it_is_done_after_all(
    clock: FakeClock, metrics: Metrics
) -> None:
    script = Script(errors.Fenced("not the leader"))
    async with running(script, clock, metrics):
        await clock.advance(10.0)
    assert script.calls == 2


async def test_given_a_server_that_has_just_started_when_retried_then_the_delays_do_not_grow(
    clock: FakeClock, metrics: Metrics
) -> None:
    script = Script(*[errors.Starting("not yet synced", status=422)] * 8)
    async with running(script, clock, metrics):
        for _ in range(8):
            await clock.advance(2.1)
    assert script.calls >= 8
    assert count(metrics, "reconcile_errors") == 8


async def test_given_an_unavailable_server_when_retried_then_the_delays_grow_and_start_anew_after_success(
    clock: FakeClock, metrics: Metrics
) -> None:
    down = errors.Unavailable("down", status=503)
    script = Script(down, down, down, None, down)
    async with running(script, clock, metrics) as controller:
        await clock.advance(0.5)
        assert script.calls == 1
        await clock.advance(1.0 + 2.0 + 4.0)
        assert script.calls == 4
        controller.queue.add(KEY)
        await clock.advance(1.1)
        assert script.calls == 6
    assert count(metrics, "reconcile_errors") == 4
    assert count(metrics, "reconcile_panics") == 0


async def test_given_a_throttling_server_when_it_names_a_time_then_it_is_kept(
    clock: FakeClock, metrics: Metrics
) -> None:
    script = Script(errors.Throttled("busy", status=429, retry_after=20.0))
    async with running(script, clock, metrics):
        await clock.advance(19.0)
        assert script.calls == 1
        await clock.advance(2.0)
    assert script.calls == 2


async def test_given_a_reconcile_that_hangs_when_its_deadline_passes_then_it_is_cut_off_and_retried(
    clock: FakeClock, metrics: Metrics
) -> None:
    calls = 0
    again = asyncio.Event()

    async def hang_once(_key: ObjectKey, _scope: ReconcileScope) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        again.set()

    async with running(hang_once, clock, metrics):
        async with asyncio.timeout(3):
            # The deadline is one of the event loop; the back-off one of the fake clock.
            await until(lambda: count(metrics, "reconcile_timeouts"))
            await clock.advance(1.1)
            await again.wait()
    assert count(metrics, "reconcile_timeouts") == 1
    assert count(metrics, "reconcile_panics") == 0
    assert results(metrics) == {"error": 1, "success": 1}


async def test_given_a_bug_when_it_raises_then_it_is_logged_with_its_trace_back_and_retried(
    clock: FakeClock, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(KeyError("oops"))
    async with running(script, clock, metrics):
        await clock.advance(1.1)
    assert script.calls == 2
    assert count(metrics, "reconcile_panics") == 1
    assert any(record.exc_info for record in caplog.records)
