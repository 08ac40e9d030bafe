import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from weir.runtime.health import HealthServer, LoopLag, ready_check, reconcile_check
from weir.runtime.metrics import Metrics

from .fakes import FakeClock

Problems = list[str | None]


@pytest.fixture
async def server(metrics: Metrics) -> AsyncIterator[tuple[HealthServer, Problems]]:
    problems: Problems = [None, None]
    server = HealthServer(
        metrics.registry, [lambda: problems[0]], [lambda: problems[0], lambda: problems[1]], "127.0.0.1", 0
    )
    await server.start()
    yield server, problems
    await server.stop()


async def get(server: HealthServer, path: str, accept: str = "") -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}{path}"
        async with session.get(url, headers={"Accept": accept}) as response:
            return response.status, await response.text(), response.headers["Content-Type"]


async def test_given_no_problem_when_asked_then_ok(server: tuple[HealthServer, Problems]) -> None:
    assert (await get(server[0], "/healthz"))[:2] == (200, "ok")
    assert (await get(server[0], "/readyz"))[:2] == (200, "ok")


async def test_given_a_problem_of_readiness_when_asked_then_only_readiness_fails_and_says_why(
    server: tuple[HealthServer, Problems],
) -> None:
    server[1][1] = "the caches are not synced"
    assert (await get(server[0], "/healthz"))[0] == 200
    assert (await get(server[0], "/readyz"))[:2] == (503, "the caches are not synced")


async def test_given_metrics_when_scraped_then_the_asked_format_is_served(
    server: tuple[HealthServer, Problems], metrics: Metrics
) -> None:
    metrics.reconcile_seconds.labels("rollout").observe(0.1, {"trace_id": "abc"})
    status, text, kind = await get(server[0], "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert 'controller_runtime_reconcile_time_seconds_count{controller="rollout"} 1.0' in text
    _, text, kind = await get(server[0], "/metrics", "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert '# {trace_id="abc"} 0.1' in text


async def test_given_a_loop_that_stands_still_when_checked_then_it_is_wrong_before_and_after_it_runs_again(
    clock: FakeClock,
) -> None:
    lag = LoopLag(limit=5.0, clock=clock)
    task = asyncio.create_task(lag.run())
    await clock.advance(10.0)
    assert lag.check() is None
    clock._elapsed += 6.0
    assert "lags" in (lag.check() or "")
    await clock.advance(0.1)
    assert lag.last == pytest.approx(5.6, abs=0.6)
    await clock.advance(2.0)
    assert lag.check() is None
    task.cancel()


def test_given_a_reconcile_when_it_exceeds_twice_its_deadline_then_it_is_wrong() -> None:
    age = 59.0
    check = reconcile_check("rollout", lambda: age, 30.0)
    assert check() is None
    age = 61.0
    assert check() == "rollout: a reconcile runs for 61 s"


@pytest.mark.parametrize(
    ("synced", "leader", "standby", "expected"),
    [
        (False, True, False, "the caches are not synced"),
        (True, False, False, "neither leader nor standby"),
        (True, True, False, None),
        (True, False, True, None),
    ],
)
def test_given_states_when_readiness_is_checked_then_caches_and_a_role_are_needed(
    synced: bool, leader: bool, standby: bool, expected: str | None
) -> None:
    assert ready_check(lambda: synced, lambda: leader, lambda: standby)() == expected
