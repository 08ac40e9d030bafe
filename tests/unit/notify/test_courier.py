"""One destination: rate, summaries, overflow, retries and giving up, on a clock that the test owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.unit.notify.support import Down, Recorder, alert, destination
from tests.unit.runtime.fakes import FakeClock, settle
from weir.notify import destination as courier_module
from weir.notify.alerts import Alert
from weir.notify.config import Target
from weir.notify.destination import Courier
from weir.notify.metrics import NotifyMetrics
from weir.notify.rate import TokenBucket
from weir.notify.sender import Refused, Sender, Undelivered


@dataclass
class Bench:
    courier: Courier
    clock: FakeClock
    metrics: NotifyMetrics
    settled: list[str] = field(default_factory=list)

    def count(self, result: str) -> float:
        value: float = self.metrics.alerts.labels("chat", result)._value.get()
        return value

    @property
    def waiting(self) -> float:
        value: float = self.metrics.waiting.labels("chat")._value.get()
        return value


@asynccontextmanager
async def bench(
    sender: Sender, *, jitter: Callable[[], float] = lambda: 1.0, **changes: object
) -> AsyncIterator[Bench]:
    clock, metrics, done = FakeClock(), NotifyMetrics(), list[str]()

    def settled(_name: str, alerts: Sequence[Alert]) -> None:
        done.extend(a.id for a in alerts)

    target = Target(destination(**changes), "http://127.0.0.1:9/")
    courier = Courier(target, sender, settled, clock=clock, metrics=metrics, jitter=jitter)
    task = asyncio.create_task(courier.run())
    try:
        yield Bench(courier, clock, metrics, done)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_given_a_few_alerts_then_each_is_one_message_and_settled_after_it_arrived() -> None:
    sender = Recorder()
    async with bench(sender) as it:
        for number in range(3):
            it.courier.offer(alert(number))
        assert not it.settled
        await settle()

        assert [len(m.alerts) for m in sender.sent] == [1, 1, 1]
        assert it.settled == sender.ids == ["id-0000", "id-0001", "id-0002"]
        assert (it.count("sent"), it.waiting) == (3, 0)


async def test_given_an_alert_that_is_in_line_or_on_its_way_when_it_is_offered_again_then_it_is_sent_once() -> None:
    sender = Recorder()
    sender.gate = asyncio.Event()
    async with bench(sender) as it:
        it.courier.offer(alert())
        it.courier.offer(alert())
        await settle()
        it.courier.offer(alert())
        assert it.courier.pending == (alert(),)
        sender.gate.set()
        await settle()

        assert sender.ids == ["id-0001"]


async def test_given_more_than_the_burst_then_the_rest_goes_out_as_one_message_when_its_turn_comes() -> None:
    sender = Recorder()
    async with bench(sender, rate={"burst": 2, "perMinute": 6}) as it:
        for number in range(14):
            it.courier.offer(alert(number))
        await settle()
        assert [len(m.alerts) for m in sender.sent] == [1, 1]

        await it.clock.advance(9.9)
        assert len(sender.sent) == 2
        await it.clock.advance(0.2)

        assert [len(m.alerts) for m in sender.sent] == [1, 1, 12]
        assert sender.ids == [f"id-{n:04}" for n in range(14)]
        assert it.count("sent") == 14


async def test_given_more_than_a_message_holds_then_it_takes_several_and_not_one_each() -> None:
    sender = Recorder()
    sender.most = 5
    async with bench(sender, rate={"burst": 1, "perMinute": 60}) as it:
        for number in range(12):
            it.courier.offer(alert(number))
        await it.clock.advance(10)

        assert [len(m.alerts) for m in sender.sent] == [1, 5, 5, 1]


async def test_given_a_quiet_time_then_the_burst_is_there_again_and_no_larger() -> None:
    sender = Recorder()
    async with bench(sender, rate={"burst": 2, "perMinute": 60}) as it:
        it.courier.offer(alert(1))
        await it.clock.advance(3600)
        for number in range(2, 7):
            it.courier.offer(alert(number))
        await settle()

        assert len(sender.sent) == 3


async def test_given_a_bucket_then_no_window_has_more_than_the_burst_and_the_rate() -> None:
    clock = FakeClock()
    bucket, passed = TokenBucket(3, 30, clock), list[float]()

    async def take() -> None:
        for _ in range(12):
            await bucket.take()
            passed.append(clock.monotonic() - 1000)

    task = asyncio.create_task(take())
    await clock.advance(60)
    await task

    assert passed == pytest.approx([0, 0, 0, *(2.0 * n for n in range(1, 10))])


async def test_given_too_many_then_the_oldest_are_dropped_counted_and_mentioned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(courier_module, "MOST_WAITING", 3)
    sender = Recorder()
    sender.gate = asyncio.Event()
    async with bench(sender) as it:
        it.courier.offer(alert(0))
        await settle()  # it is on its way now, and hangs
        with caplog.at_level(logging.WARNING):
            for number in range(1, 8):
                it.courier.offer(alert(number))

        assert it.count("dropped") == 4
        assert it.waiting == 4
        # Dropped is settled: else it would be offered again and push out the next.
        assert it.settled == ["id-0001", "id-0002", "id-0003", "id-0004"]
        assert sum("the oldest are dropped" in r.getMessage() for r in caplog.records) == 1
        sender.gate.set()
        await settle()

        assert [([a.id for a in m.alerts], m.dropped) for m in sender.sent] == [
            (["id-0000"], 0),
            (["id-0005", "id-0006", "id-0007"], 4),
        ]


async def test_given_a_receiver_that_fails_for_a_while_then_it_is_tried_again_ever_more_slowly() -> None:
    sender = Recorder(*(Undelivered("answered 503") for _ in range(4)))
    async with bench(sender) as it:
        it.courier.offer(alert())
        attempts = []
        for _ in range(15):
            attempts.append(sender.attempts)
            await it.clock.advance(1)

        # After 1, 2, 4 and 8 seconds.
        assert attempts == [0, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4]
        assert sender.ids == it.settled == ["id-0001"]
        assert it.metrics.retries.labels("chat")._value.get() == 4


async def test_given_jitter_then_retries_come_earlier_and_never_at_once() -> None:
    sender = Recorder(Undelivered("answered 503"))
    async with bench(sender, jitter=lambda: 0.0) as it:
        it.courier.offer(alert())
        await settle()
        assert sender.attempts == 1
        await it.clock.advance(0.49)
        assert sender.attempts == 1
        await it.clock.advance(0.02)
        assert sender.attempts == 2


async def test_given_a_receiver_that_asks_to_wait_then_it_is_left_alone_so_long() -> None:
    sender = Recorder(Undelivered("answered 429", 30.0))
    async with bench(sender) as it:
        it.courier.offer(alert())
        await it.clock.advance(29)
        assert sender.attempts == 1
        await it.clock.advance(2)
        assert sender.ids == ["id-0001"]


async def test_given_a_receiver_that_never_answers_then_it_is_given_up_and_what_waited_goes_out_as_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender = Recorder(*(Undelivered("no connection") for _ in range(200)))
    async with bench(sender, giveUpAfter="10m") as it:
        it.courier.offer(alert(1))
        await settle()
        for number in range(2, 6):
            it.courier.offer(alert(number))
        with caplog.at_level(logging.ERROR):
            await it.clock.advance(599)
            assert not it.settled
            await it.clock.advance(2)

        assert it.settled == ["id-0001"]
        assert it.count("failed") == 1
        assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == ["a notification was given up"]
        assert sender.attempts < 20
        sender.failures.clear()
        await it.clock.advance(60)

        assert [len(m.alerts) for m in sender.sent] == [4]


async def test_given_a_receiver_that_refuses_then_it_is_not_tried_again_and_the_next_is() -> None:
    sender = Recorder(Refused("answered 400"))
    async with bench(sender) as it:
        it.courier.offer(alert(1))
        it.courier.offer(alert(2))
        await settle()

        assert (it.count("refused"), it.count("sent")) == (1, 1)
        assert it.settled == ["id-0001", "id-0002"]


async def test_given_a_client_that_raises_anything_then_its_text_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender = Recorder(RuntimeError("https://hooks.example.com/T0KEN"))
    async with bench(sender) as it:
        it.courier.offer(alert())
        await it.clock.advance(2)

        assert sender.ids == ["id-0001"]
        assert "T0KEN" not in caplog.text
        assert any(getattr(r, "why", "") == "RuntimeError" for r in caplog.records)


async def test_given_a_wait_that_is_over_before_its_turn_then_it_is_not_sent() -> None:
    sender = Recorder()
    async with bench(sender, rate={"burst": 1, "perMinute": 1}) as it:
        for number in range(1, 4):
            it.courier.offer(alert(number))
        await settle()
        it.courier.withdraw(lambda a: a.id != "id-0002")
        await it.clock.advance(61)

        assert sender.ids == ["id-0001", "id-0003"]
        assert "id-0002" not in it.settled


async def test_given_all_that_waited_is_over_then_nothing_is_sent_and_the_next_one_is() -> None:
    sender = Recorder()
    async with bench(sender, rate={"burst": 1, "perMinute": 1}) as it:
        it.courier.offer(alert(1))
        it.courier.offer(alert(2))
        await settle()
        it.courier.withdraw(lambda a: False)
        await it.clock.advance(121)
        it.courier.offer(alert(3))
        await it.clock.advance(61)

        assert sender.ids == ["id-0001", "id-0003"]


async def test_given_a_destination_that_is_down_then_another_does_not_notice() -> None:
    good = Recorder()
    async with bench(Down()) as broken, bench(good) as fine:
        for number in range(3):
            broken.courier.offer(alert(number))
            fine.courier.offer(alert(number))
        await settle()

        assert len(good.sent) == 3
        assert broken.waiting == 3
