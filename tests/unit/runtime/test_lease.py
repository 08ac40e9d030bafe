import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from weir.runtime.errors import Unavailable
from weir.runtime.lease import LeaderElector, LeaseTiming
from weir.runtime.metrics import Metrics
from weir.runtime.resources import LEASES, ObjectKey

from .fakes import FakeClock, FakeStore

KEY = ObjectKey(LEASES, "ns", "weir")


class Candidate:
    """An elector with its task and a count of how often it lost."""

    def __init__(
        self, store: FakeStore, clock: FakeClock, name: str, chance: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.lost = 0
        self.metrics = Metrics()
        self.elector = LeaderElector(
            store,
            name="weir",
            namespace="ns",
            identity=name,
            on_lost=self._on_lost,
            clock=clock,
            chance=chance,
            metrics=self.metrics,
        )
        self.task = asyncio.create_task(self.elector.run())

    def _on_lost(self) -> None:
        self.lost += 1

    @property
    def leads(self) -> bool:
        return self.elector.is_leader

    @property
    def gauge(self) -> float | None:
        return self.metrics.registry.get_sample_value("leader_election_master_status", {"name": "weir"})


@asynccontextmanager
async def candidates(*found: Candidate) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for candidate in found:
            candidate.task.cancel()
        await asyncio.gather(*(candidate.task for candidate in found), return_exceptions=True)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


async def test_given_no_lease_when_two_race_then_exactly_one_leads_and_the_other_writes_nothing(
    store: FakeStore, clock: FakeClock
) -> None:
    one, two = Candidate(store, clock, "one"), Candidate(store, clock, "two")
    async with candidates(one, two):
        await clock.advance(0.1)
        assert [one.leads, two.leads].count(True) == 1
        await clock.advance(120.0)
        assert [one.leads, two.leads].count(True) == 1
        winner = "one" if one.leads else "two"
        assert {body["spec"]["holderIdentity"] for _, body in store.writes} == {winner}
        assert sorted([one.gauge, two.gauge], key=str) == [0.0, 1.0]
        assert (one.lost, two.lost) == (0, 0)


async def test_given_a_leader_when_it_renews_then_the_acquire_time_stays(store: FakeStore, clock: FakeClock) -> None:
    one = Candidate(store, clock, "one")
    async with candidates(one):
        await clock.advance(0.1)
        first = store.objects[KEY]["spec"]
        await clock.advance(30.0)
        spec = store.objects[KEY]["spec"]
    assert spec["acquireTime"] == first["acquireTime"]
    assert spec["renewTime"] > first["renewTime"]
    assert spec["leaseDurationSeconds"] == 15
    assert 10 <= len(store.writes) <= 17


async def test_given_an_outage_longer_than_the_lease_when_it_lasts_then_the_leader_stops_before_anybody_may_take_over(
    store: FakeStore, clock: FakeClock
) -> None:
    one = Candidate(store, clock, "one")
    async with candidates(one):
        await clock.advance(3.0)
        two = Candidate(store, clock, "two")
        async with candidates(two):
            await clock.advance(3.0)
            store.outage = Unavailable("down")
            while one.leads:
                await clock.advance(0.5)
                assert not two.leads
            await clock.advance(3.0)
            assert one.lost == 1
            assert one.task.done()
            assert one.gauge == 0.0
            await clock.advance(20.0)
            assert not two.leads, "nobody leads while nobody can write"
            store.outage = None
            # The standby may not have seen the last renewal; then it has to watch for one more lease.
            await clock.advance(18.0)
            assert two.leads
            assert store.objects[KEY]["spec"]["leaseTransitions"] == 1
            assert not one.leads


async def test_given_calls_that_hang_when_the_deadline_passes_then_leadership_is_lost_all_the_same(
    store: FakeStore, clock: FakeClock
) -> None:
    one = Candidate(store, clock, "one")
    async with candidates(one):
        await clock.advance(0.1)
        store.hang = asyncio.Event()
        await clock.advance(9.8)
        assert one.leads
        await clock.advance(0.3)
        assert not one.leads
        await clock.advance(2.5)
        assert one.lost == 1


async def test_given_a_stalled_event_loop_when_the_deadline_has_passed_then_is_leader_is_false_before_any_task_runs(
    store: FakeStore, clock: FakeClock
) -> None:
    one = Candidate(store, clock, "one")
    async with candidates(one):
        await clock.advance(0.1)
        assert one.elector.seconds_left() == pytest.approx(15.0, abs=0.2)
        clock._elapsed += 11.0
        assert not one.leads
        assert one.elector.seconds_left() == 0.0


async def test_given_wall_clocks_an_hour_apart_when_the_leader_renews_then_nobody_takes_over(
    store: FakeStore, clock: FakeClock
) -> None:
    behind, ahead = FakeClock(-3600.0, clock), FakeClock(+3600.0, clock)
    one = Candidate(store, behind, "one")
    async with candidates(one):
        await clock.advance(0.1)
        two = Candidate(store, ahead, "two")
        async with candidates(two):
            for _ in range(60):
                await clock.advance(1.0)
                assert one.leads
                assert not two.leads


async def test_given_a_dead_leader_with_a_fast_clock_when_its_lease_stands_still_then_a_standby_takes_over(
    store: FakeStore, clock: FakeClock
) -> None:
    one = Candidate(store, FakeClock(+3600.0, clock), "one")
    async with candidates(one):
        await clock.advance(0.1)
    two = Candidate(store, clock, "two")
    async with candidates(two):
        await clock.advance(14.0)
        assert not two.leads, "a candidate that has just come must watch for a whole lease first"
        await clock.advance(4.0)
        assert two.leads


async def test_given_a_standby_when_the_leader_releases_then_it_takes_over_within_three_seconds(
    store: FakeStore, clock: FakeClock
) -> None:
    one = Candidate(store, clock, "one")
    async with candidates(one):
        await clock.advance(0.1)
        two = Candidate(store, clock, "two", chance=lambda: 0.999)
        async with candidates(two):
            await clock.advance(20.0)
            assert one.leads
            releasing = asyncio.create_task(one.elector.release())
            await clock.advance(0.0)
            assert releasing.done()
            assert not one.leads
            assert store.objects[KEY]["spec"]["holderIdentity"] == ""
            await clock.advance(2.9)
            assert two.leads
            assert one.lost == 0
            assert one.task.done()


async def test_given_somebody_else_in_the_lease_when_the_leader_looks_then_it_stops_at_once(
    store: FakeStore, clock: FakeClock
) -> None:
    one = Candidate(store, clock, "one")
    async with candidates(one):
        await clock.advance(0.1)
        await store.merge_patch(LEASES, "weir", {"spec": {"holderIdentity": "thief"}}, "ns")
        await clock.advance(2.5)
        assert not one.leads
        assert one.lost == 1
        assert store.objects[KEY]["spec"]["holderIdentity"] == "thief"


async def test_given_a_standby_when_asked_to_release_then_the_lease_is_not_touched(
    store: FakeStore, clock: FakeClock
) -> None:
    one, two = Candidate(store, clock, "one"), None
    async with candidates(one):
        await clock.advance(0.1)
        two = Candidate(store, clock, "two")
        async with candidates(two):
            await clock.advance(2.0)
            assert two.elector.in_touch
            await two.elector.release()
            await clock.advance(5.0)
            assert one.leads
            assert {body["spec"]["holderIdentity"] for _, body in store.writes} == {"one"}


@pytest.mark.parametrize("bad", [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_given_durations_that_cannot_be_safe_when_timing_is_made_then_it_is_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="renew deadline"):
        LeaseTiming(*bad)
