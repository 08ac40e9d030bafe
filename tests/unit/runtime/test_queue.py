import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from weir.runtime.metrics import Metrics
from weir.runtime.queue import Backoff, KeyedQueue

from .fakes import FakeClock, settle

Work = Callable[[str], Awaitable[float | None]]


@asynccontextmanager
async def running(
    work: Work, clock: FakeClock, metrics: Metrics, workers: int = 4, chance: float = 0.0
) -> AsyncIterator[KeyedQueue[str]]:
    queue: KeyedQueue[str] = KeyedQueue("q", work, workers=workers, clock=clock, chance=lambda: chance, metrics=metrics)
    queue.start()
    try:
        yield queue
    finally:
        stopping = asyncio.create_task(queue.shutdown(1.0))
        await clock.advance(2.0)
        await stopping


class Recorder:
    """Work that a test can hold and let go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.finished: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.most_at_once: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self.result: float | None = None

    async def __call__(self, key: str) -> float | None:
        self.started.append(key)
        self._now[key] += 1
        self.most_at_once[key] = max(self.most_at_once[key], self._now[key])
        try:
            await self.open.wait()
        finally:
            self._now[key] -= 1
        self.finished.append(key)
        return self.result


async def test_given_a_waiting_key_when_added_again_then_it_is_worked_on_once(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    async with running(work, clock, metrics) as queue:
        for _ in range(5):
            queue.add("a")
        await settle()
    assert work.finished == ["a"]


async def test_given_running_work_when_key_is_added_twice_then_it_runs_once_more_and_never_in_parallel(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    work.open.clear()
    async with running(work, clock, metrics) as queue:
        queue.add("a")
        await settle()
        queue.add("a")
        queue.add("a")
        await settle()
        assert work.started == ["a"]
        work.open.set()
        await settle()
    assert work.finished == ["a", "a"]
    assert work.most_at_once["a"] == 1


async def test_given_several_keys_when_workers_are_free_then_they_run_in_parallel_up_to_the_limit(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    work.open.clear()
    async with running(work, clock, metrics, workers=2) as queue:
        for key in "abc":
            queue.add(key)
        await settle()
        assert work.started == ["a", "b"]
        assert len(queue) == 1
        work.open.set()
        await settle()
        assert queue.idle()
    assert sorted(work.finished) == ["a", "b", "c"]


async def test_given_two_deadlines_when_time_passes_then_only_the_earliest_fires(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    async with running(work, clock, metrics) as queue:
        queue.add_after("a", 10.0)
        queue.add_after("a", 3.0)
        queue.add_after("a", 7.0)
        await clock.advance(2.9)
        assert work.finished == []
        await clock.advance(0.2)
        assert work.finished == ["a"]
        await clock.advance(60.0)
    assert work.finished == ["a"]


async def test_given_a_long_wait_when_a_shorter_one_for_another_key_comes_then_the_timer_notices(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    async with running(work, clock, metrics) as queue:
        queue.add_after("late", 100.0)
        await settle()
        queue.add_after("soon", 1.0)
        await clock.advance(1.0)
    assert work.finished == ["soon"]


async def test_given_work_that_returns_seconds_when_they_pass_then_it_runs_again(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    work.result = 5.0
    async with running(work, clock, metrics) as queue:
        queue.add("a")
        await clock.advance(4.9)
        assert work.finished == ["a"]
        await clock.advance(5.2)
    assert work.finished == ["a", "a", "a"]


async def test_given_failing_work_when_retried_then_the_delay_doubles_up_to_the_cap(
    clock: FakeClock, metrics: Metrics
) -> None:
    at: list[float] = []

    async def fail(_key: str) -> None:
        at.append(clock.monotonic())
        raise ValueError("broken")

    async with running(fail, clock, metrics) as queue:
        queue.add("a")
        await clock.advance(2000.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert gaps[:4] == pytest.approx([0.005, 0.01, 0.02, 0.04])
    assert max(gaps) == pytest.approx(300.0)
    assert len(gaps) > 20
    assert all(later >= 0.999 * earlier for earlier, later in itertools.pairwise(gaps))


async def test_given_failures_when_work_succeeds_then_the_backoff_starts_anew(
    clock: FakeClock, metrics: Metrics
) -> None:
    outcomes = [True, True, True, False, True]
    at: list[float] = []

    async def work(_key: str) -> None:
        at.append(clock.monotonic())
        if outcomes.pop(0) if outcomes else False:
            raise ValueError("broken")

    async with running(work, clock, metrics) as queue:
        queue.add("a")
        await clock.advance(1.0)
        queue.add("a")
        await clock.advance(1.0)
    assert at[5] - at[4] == pytest.approx(0.005)


async def test_given_work_that_asks_for_a_retry_when_it_returns_then_its_failures_are_kept(
    clock: FakeClock, metrics: Metrics
) -> None:
    delays: list[float] = []

    queues: list[KeyedQueue[str]] = []

    async def ask(key: str) -> None:
        if len(delays) < 3:
            delays.append(queues[0].retry(key))

    async with running(ask, clock, metrics) as queue:
        queues.append(queue)
        queue.add("a")
        await clock.advance(1.0)
    assert delays == pytest.approx([0.005, 0.01, 0.02])


async def test_given_a_retry_with_a_floor_when_backoff_is_shorter_then_the_floor_holds(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    async with running(work, clock, metrics) as queue:
        assert queue.retry("a", at_least=4.0) == 4.0
        await clock.advance(3.9)
        assert work.finished == []
        await clock.advance(0.2)
    assert work.finished == ["a"]


def test_given_many_failures_when_delay_is_computed_then_it_neither_overflows_nor_leaves_the_jitter_band() -> None:
    backoff = Backoff(base=0.005, cap=300.0, jitter=0.2)
    assert backoff.delay(10_000, 0.0) == 300.0
    assert backoff.delay(10_000, 0.999) == pytest.approx(240.06)
    assert backoff.delay(0, 0.5) == pytest.approx(0.0045)


async def test_given_running_work_when_shut_down_in_time_then_it_finishes_and_waiting_keys_do_not_start(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    work.open.clear()
    queue: KeyedQueue[str] = KeyedQueue("q", work, workers=1, clock=clock, metrics=metrics)
    queue.start()
    queue.add("a")
    queue.add("b")
    await settle()
    stopping = asyncio.create_task(queue.shutdown(10.0))
    await clock.advance(5.0)
    assert not stopping.done()
    work.open.set()
    assert await stopping is True
    queue.add("c")
    await settle()
    assert work.finished == ["a"]


async def test_given_hung_work_when_the_grace_is_over_then_it_is_cancelled(clock: FakeClock, metrics: Metrics) -> None:
    work = Recorder()
    work.open.clear()
    queue: KeyedQueue[str] = KeyedQueue("q", work, workers=1, clock=clock, metrics=metrics)
    queue.start()
    queue.add("a")
    await settle()
    stopping = asyncio.create_task(queue.shutdown(10.0))
    await clock.advance(10.1)
    assert await stopping is False
    assert work.finished == []


async def test_given_running_work_when_metrics_are_read_then_they_show_depth_and_age(
    clock: FakeClock, metrics: Metrics
) -> None:
    work = Recorder()
    work.open.clear()

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"name": "q"})

    async with running(work, clock, metrics, workers=1) as queue:
        queue.add("a")
        queue.add("b")
        await clock.advance(3.0)
        assert queue.oldest_running() == pytest.approx(3.0)
        assert value("workqueue_depth") == 1
        assert value("workqueue_adds_total") == 2
        assert value("workqueue_longest_running_processor_seconds") == pytest.approx(3.0)
        work.open.set()
        await settle()
    assert value("workqueue_work_duration_seconds_count") == 2
    assert value("workqueue_queue_duration_seconds_sum") == pytest.approx(3.0)
