"""Notifications as a whole: never twice, also over restarts; files that change; nothing that hurts a reconcile."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.properties.cluster import START, Cluster, Quality
from tests.unit.notify.support import DEMO, Folder, Ledgers, Recorder, alert
from tests.unit.notify.test_alerts import summary, waiting
from tests.unit.release.scenario import serving
from tests.unit.runtime.fakes import FakeClock, until
from weir.api.base import Condition
from weir.api.rolloutstatus import Outcome, RolloutStatus
from weir.controller.settings import Settings
from weir.notify import ledger as ledger_module
from weir.notify.alerts import Kind, Severity, Subject
from weir.notify.config import ConfigError, Target
from weir.notify.ledger import REACH, Ledger, Told
from weir.notify.metrics import NotifyMetrics
from weir.notify.notifier import Notifier
from weir.notify.sender import Sender, Undelivered
from weir.notify.templates import Templates
from weir.runtime.errors import Unavailable
from weir.runtime.resources import CONFIG_MAPS

NOW = 1_767_225_600.0 + 1000
"""What the clock of the tests shows at first."""

CHAT = {"name": "chat", "apprise": {"urlKey": "chat"}}
HOOK = {"name": "hook", "cloudEvents": {"url": "http://127.0.0.1:9/"}}


class World:
    """Everything that outlives the operator's process."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path)
        self.ledgers = Ledgers()
        self.clock = FakeClock()
        self.senders: dict[str, Recorder] = {}
        self.resyncs = 0
        self.metrics = NotifyMetrics()

    def way(self, target: Target, _templates: Templates, _cluster: str) -> Sender:
        name = target.destination.name
        if "bad" in target.url:
            raise ConfigError(f"destination {name}: apprise does not know this kind of URL")
        return self.senders.setdefault(name, Recorder())

    def resync(self) -> None:
        self.resyncs += 1

    @asynccontextmanager
    async def process(self, *, killed: bool = False) -> AsyncIterator[Notifier]:
        """One operator process that leads."""
        async with aiohttp.ClientSession() as session:
            self.metrics = NotifyMetrics()
            notifier = Notifier(
                self.folder.path,
                self.ledgers.ledger(),
                session,
                resync=self.resync,
                metrics=self.metrics,
                clock=self.clock,
                ways=self.way,
            )
            notifier.start()
            try:
                yield notifier
            finally:
                if killed:
                    self.ledgers.outage = Unavailable("nothing is written any more")
                await notifier.stop()
                self.ledgers.outage = None

    async def ready(self, notifier: Notifier, resyncs: int = 1) -> None:
        await until(lambda: self.resyncs >= resyncs)
        assert notifier is not None

    async def pass_time(self, seconds: float) -> None:
        """Lets threads of the loop answer as well."""
        for _ in range(int(seconds)):
            await self.clock.advance(1)
            await asyncio.sleep(0.002)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.folder.write({"destinations": [CHAT]}, chat="json://127.0.0.1:9")
    return made


def promoted(release: int = 1, at: float = NOW + 5, **changes: Any) -> RolloutStatus:
    ended = summary(release, Outcome.PROMOTED, started_at=at - 60, finished_at=at)
    return RolloutStatus(release=release, history=[ended]).model_copy(update=changes)


def stalled(at: float, reason: str = "ModelVersionNotFound") -> RolloutStatus:
    condition = Condition(type="Stalled", status="True", reason=reason, message="m", last_transition_time=at)
    return RolloutStatus(observed_generation=1, conditions=[condition])


async def test_given_a_new_alert_then_it_is_sent_stored_and_never_sent_again(world: World) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        for _ in range(3):
            notifier.offer(DEMO, promoted())
            await world.pass_time(1)
        assert [m.alerts[0].kind for m in world.senders["chat"].sent] == [Kind.PROMOTED]
        (done,) = world.ledgers.told["chat"]["done"]
        assert done == world.senders["chat"].ids[0]


async def test_given_a_first_start_then_old_releases_are_not_told(world: World) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, promoted(at=NOW - 60))
        await world.pass_time(1)
        assert not world.senders["chat"].sent


async def test_given_a_restart_then_nothing_is_told_twice_and_what_was_missed_is_told(world: World) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, promoted(1, NOW + 1))
        await world.pass_time(1)

    # The status was stored, then the operator died before anybody was told.
    missed = promoted(2, NOW + 2)
    both = missed.model_copy(update={"history": [*missed.history, *promoted(1, NOW + 1).history]})
    await world.pass_time(60)
    async with world.process() as notifier:
        await world.ready(notifier, 2)
        notifier.offer(DEMO, both)
        await world.pass_time(1)

    assert [m.alerts[0].facts["release"] for m in world.senders["chat"].sent] == ["1", "2"]


async def test_given_a_process_that_is_killed_in_between_then_the_same_id_comes_again(world: World) -> None:
    """The only way to hear something twice: sent, and killed before that could be stored."""
    async with world.process(killed=True) as notifier:
        await world.ready(notifier)
        await until(lambda: world.ledgers.objects)
        world.ledgers.outage = Unavailable("down")
        notifier.offer(DEMO, promoted())
        await world.pass_time(1)
    world.ledgers.outage = None
    async with world.process() as notifier:
        await world.ready(notifier, 2)
        notifier.offer(DEMO, promoted())
        await world.pass_time(1)

    ids = world.senders["chat"].ids
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_given_a_ledger_that_cannot_be_stored_then_it_is_stored_later(world: World) -> None:
    async with world.process(killed=True) as notifier:
        await world.ready(notifier)
        await until(lambda: world.ledgers.objects)
        world.ledgers.outage = Unavailable("down")
        notifier.offer(DEMO, promoted())
        await world.pass_time(2)
        assert not world.ledgers.told["chat"]["done"]
        world.ledgers.outage = None
        await world.pass_time(6)
        assert len(world.ledgers.told["chat"]["done"]) == 1


async def test_given_an_api_server_that_is_away_then_nothing_is_told_until_it_is_known_what_was(world: World) -> None:
    world.ledgers.outage = Unavailable("down")
    async with world.process() as notifier:
        await world.pass_time(2)
        notifier.offer(DEMO, promoted())
        assert world.resyncs == 0
        world.ledgers.outage = None
        await world.pass_time(6)
        await world.ready(notifier)
        notifier.offer(DEMO, promoted(at=NOW + 60))
        await world.pass_time(1)
        assert len(world.senders["chat"].sent) == 1


async def test_given_the_whole_life_of_a_rollout_with_restarts_anywhere_then_each_thing_is_told_once(
    world: World,
) -> None:
    """Real decisions: a promotion, a rollback, an abort and a wait, with a new operator process after every turn."""
    statuses: list[tuple[float, RolloutStatus]] = []
    cluster = serving()
    _follow(cluster, statuses)
    cluster.quality["v2"] = Quality.BAD
    cluster.release("v2")
    cluster.run()
    cluster.release("v3")
    cluster.run(lambda: cluster.status.weight > 0)
    cluster.ask("Abort")
    cluster.run()
    cluster.release("v9")
    cluster.run()
    world.clock.wall_offset = START - NOW - 1  # the destination is known just before all this

    turns = 0
    for moment, status in statuses:
        turns += 1
        async with world.process() as notifier:
            await world.ready(notifier, turns)
            behind = moment - world.clock.now().timestamp()
            world.clock.wall_offset += max(0.0, behind)
            notifier.offer(DEMO, status)
            notifier.offer(DEMO, status)
            await world.pass_time(1)
    async with world.process() as notifier:
        await world.ready(notifier, turns + 1)
        notifier.offer(DEMO, statuses[-1][1])
        await world.pass_time(40)

    sent = [alert for message in world.senders["chat"].sent for alert in message.alerts]
    assert Counter(alert.kind for alert in sent) == {
        Kind.PROMOTED: 1,
        Kind.ROLLED_BACK: 1,
        Kind.ABORTED: 1,
        Kind.STALLED: 1,
    }


def _follow(cluster: Cluster, statuses: list[tuple[float, RolloutStatus]]) -> None:
    check = cluster.watch

    def note(c: Cluster, before: RolloutStatus, obs: Any, decision: Any) -> None:
        if check is not None:
            check(c, before, obs, decision)
        if decision.status != before:
            statuses.append((c.now, decision.status))

    cluster.watch = note


async def test_given_a_problem_that_lasts_then_it_is_told_once_it_has_lasted_although_nobody_asks(
    world: World,
) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, stalled(NOW + 1))
        await world.pass_time(29)
        assert not world.senders["chat"].sent
        await world.pass_time(5)
        assert [m.alerts[0].kind for m in world.senders["chat"].sent] == [Kind.STALLED]


async def test_given_a_problem_that_passes_at_once_then_nobody_hears_of_it(world: World) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, stalled(NOW + 1))
        notifier.offer(replace(DEMO, uid="uid-2"), stalled(NOW + 1))
        await world.pass_time(5)
        notifier.offer(DEMO, RolloutStatus())
        notifier.forget(replace(DEMO, uid="uid-2"))
        await world.pass_time(40)
        assert not world.senders["chat"].sent


async def test_given_a_wait_that_ends_while_the_receiver_is_down_then_it_is_taken_back(world: World) -> None:
    world.senders["chat"] = Recorder(*(Undelivered("no connection") for _ in range(3)))
    await world.pass_time(1)
    since = "2026-01-01T00:17:00Z"
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, promoted())
        notifier.offer(DEMO, waiting(since=since).model_copy(update={"history": promoted().history}))
        notifier.offer(DEMO, promoted())
        await world.pass_time(20)
        assert [a.kind for m in world.senders["chat"].sent for a in m.alerts] == [Kind.PROMOTED]


async def test_given_two_destinations_then_each_has_its_own_account(world: World) -> None:
    world.folder.write({"destinations": [CHAT, {**HOOK, "kinds": ["AwaitingApproval"]}]})
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, promoted())
        await world.pass_time(1)
        assert len(world.senders["chat"].sent) == 1
        assert not world.senders["hook"].sent
        assert [len(world.ledgers.told[name]["done"]) for name in ("chat", "hook")] == [1, 0]


async def test_given_a_destination_that_joins_later_then_it_hears_only_what_is_new(world: World) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, promoted(1, NOW + 1))
        await world.pass_time(1)
        world.folder.write({"destinations": [CHAT, HOOK]})
        await world.pass_time(12)
        await world.ready(notifier, 2)
        for status in (promoted(1, NOW + 1), promoted(2, NOW + 60)):
            notifier.offer(DEMO, status)
        await world.pass_time(1)
        assert [m.alerts[0].facts["release"] for m in world.senders["hook"].sent] == ["2"]
        assert [m.alerts[0].facts["release"] for m in world.senders["chat"].sent] == ["1", "2"]


async def test_given_a_secret_that_is_mended_then_what_waited_is_sent_with_it(world: World) -> None:
    broken = Recorder(*(Undelivered("answered 403") for _ in range(100)))
    world.senders["chat"] = broken
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, promoted())
        await world.pass_time(3)
        assert broken.attempts
        assert not broken.sent
        world.senders["chat"] = Recorder()
        world.folder.write({"destinations": [CHAT]}, chat="json://127.0.0.1:9/mended")
        await world.pass_time(12)
        await until(lambda: world.senders["chat"].ids)
        assert len(world.senders["chat"].ids) == 1


async def test_given_a_bad_change_then_it_is_named_and_what_worked_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        world.folder.write("destinations: [")
        await world.pass_time(12)
        await until(
            lambda: "config.yaml is not YAML, line 1; the configuration before it stays in force" in caplog.text
        )
        assert world.metrics.problems._value.get() == 1
        notifier.offer(DEMO, promoted())
        await world.pass_time(1)
        assert len(world.senders["chat"].sent) == 1
        world.folder.write({"destinations": [CHAT]})
        await world.pass_time(12)
        await until(lambda: world.metrics.problems._value.get() == 0)


async def test_given_a_bad_file_at_the_start_when_it_is_mended_then_what_happened_meanwhile_is_told(
    world: World,
) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)
        await until(lambda: world.ledgers.objects)
    world.folder.write("nonsense: true")
    async with world.process() as notifier:
        await until(lambda: world.metrics.problems._value.get() == 1)
        notifier.offer(DEMO, promoted())
        assert world.metrics.problems._value.get() == 1
        world.folder.write({"destinations": [CHAT]})
        await world.pass_time(12)
        await world.ready(notifier, 2)
        notifier.offer(DEMO, promoted())  # since it was asked to
        await world.pass_time(1)
        assert len(world.senders["chat"].sent) == 1


async def test_given_one_destination_that_cannot_be_used_then_the_others_are(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gone = {**CHAT, "name": "gone", "apprise": {"urlKey": "no"}}
    world.folder.write({"destinations": [CHAT, HOOK, gone]}, chat="bad://T0KEN")
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(DEMO, promoted())
        await world.pass_time(1)
        assert len(world.senders["hook"].sent) == 1
        assert world.metrics.problems._value.get() == 2
        assert "T0KEN" not in caplog.text


async def test_given_no_files_then_it_says_so_and_goes_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (world.folder.path / "config" / "config.yaml").unlink()
    async with world.process() as notifier:
        await until(lambda: "cannot be read" in caplog.text)
        notifier.offer(DEMO, promoted())
        world.folder.write({"destinations": [CHAT]})
        await world.pass_time(12)
        await world.ready(notifier)


async def test_given_anything_that_goes_wrong_then_a_reconcile_does_not_notice(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.process() as notifier:
        await world.ready(notifier)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("weir.notify.notifier.alerts", fail)
        with caplog.at_level(logging.ERROR):
            notifier.offer(DEMO, promoted())
        assert "no notification could be made" in caplog.text


def test_given_a_day_then_the_ledger_forgets_and_does_not_tell_again() -> None:
    ledger = Ledger({"chat": Told(since=NOW, done={})})
    old, new = alert(1, at=NOW + 1), alert(2, at=NOW + 2)
    ledger.settle("chat", [old], NOW + 1)
    ledger.settle("chat", [new], NOW + 1.5 + REACH)

    assert ledger.settled("chat", old)
    assert ledger.settled("chat", new)
    assert len(Ledger.from_json(ledger.to_json())._told["chat"].done) == 1


def test_given_very_many_alerts_then_the_ledger_stays_small_and_none_is_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_module, "MOST", 10)
    ledger = Ledger({"chat": Told(since=NOW, done={})})
    told = [alert(n, at=NOW + n) for n in range(1, 51)]
    for each in told:
        ledger.settle("chat", [each], NOW + 60)

    assert len(ledger._told["chat"].done) == 10
    assert all(ledger.settled("chat", each) for each in told)


async def test_given_a_ledger_that_is_damaged_then_only_what_is_new_is_told(world: World) -> None:
    for text in ("{", '{"chat": 1}', "[]", '{"chat": {"since": "x"}}'):
        body = {"metadata": {"name": "weir-operator-notified", "namespace": "weir-system"}, "data": {"told.json": text}}
        await world.ledgers.apply(CONFIG_MAPS, body)
        loaded = await world.ledgers.ledger().load()
        loaded.keep(["chat"], NOW)
        assert loaded.settled("chat", alert(1, at=NOW - 1))
        assert not loaded.settled("chat", alert(1, at=NOW + 1))


async def test_given_a_rollout_that_is_deleted_then_nobody_is_called_for_it(world: World) -> None:
    world.senders["chat"] = Recorder(Undelivered("no connection"))
    async with world.process() as notifier:
        await world.ready(notifier)
        notifier.offer(replace(DEMO, uid="uid-2"), promoted())
        notifier.offer(DEMO, waiting(since="2026-01-01T00:17:00Z"))
        notifier.forget(DEMO)
        await world.pass_time(5)
        assert [a.kind for m in world.senders["chat"].sent for a in m.alerts] == [Kind.PROMOTED]


async def test_given_no_folder_then_nothing_runs(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        notifier = Notifier(None, world.ledgers.ledger(), session, resync=world.resync)
        notifier.start()
        notifier.offer(DEMO, promoted())
        await notifier.stop()

    assert not world.ledgers.writes
    assert world.resyncs == 0


def test_given_the_charts_variable_then_the_operator_looks_there() -> None:
    assert Settings.from_environment({"WEIR_NOTIFICATIONS": "/etc/weir/n"}).notifications == Path("/etc/weir/n")
    assert Settings.from_environment({}).notifications is None


async def test_given_alerts_of_a_policy_about_several_rollouts_then_one_that_is_over_is_taken_back_alone(
    world: World,
) -> None:
    world.senders["chat"] = Recorder(*(Undelivered("no connection") for _ in range(3)))
    policy = Subject("team", "agents", "policy-uid")
    await world.pass_time(1)
    async with world.process() as notifier:
        await world.ready(notifier)
        at = world.clock.now().timestamp() + 1  # the destination is known since just before
        one, other = (
            alert(
                number,
                subject=Subject("team", name, "policy-uid"),
                kind=Kind.AWAITING_APPROVAL,
                severity=Severity.WARNING,
                at=at,
            )
            for number, name in ((1, "digits"), (2, "letters"))
        )
        notifier.tell(policy, lambda _: [one, other])
        notifier.tell(policy, lambda _: [other])
        await world.pass_time(20)
    assert [a.id for m in world.senders["chat"].sent for a in m.alerts] == [other.id]
