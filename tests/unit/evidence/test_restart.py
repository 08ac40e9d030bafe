"""The operator is killed at any time: over all windows nothing is lost and nothing counted twice."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from tests.unit.evidence.fake_prometheus import Answer, FakePrometheus, vector
from tests.unit.evidence.world import COLLECT, EPOCH, KEY, Server, World, pass_time, row, settle, source
from weir.api.evidencestatus import Counts
from weir.api.gate import Gate, Metrics, RequestMetrics
from weir.evidence.collector import ArmPods, Pod
from weir.evidence.stored import Stored
from weir.release.observation import Window

WORSE = Gate(name="worse", template="http-errors", interval="10s")
OFTEN = Gate(name="often", template="http-errors", interval="4s")
SHAPE = Gate(name="shape", template="http-latency", interval="6s")


@dataclass
class Ledger:
    """What the status remembers: the windows that a look took, and what they said of the counters."""

    taken: dict[str, list[Window]] = field(default_factory=dict)

    def look(self, world: World) -> None:
        ends = {gate: windows[-1].end for gate, windows in self.taken.items()}
        for window in world.collector.windows(KEY, ends):
            assert window.start >= ends.get(window.gate, EPOCH) - 0.001
            self.taken.setdefault(window.gate, []).append(window)

    @property
    def stored(self) -> Stored:
        """Counters as the machine keeps them: a window with an error leaves those of the one before."""
        kept = {}
        for gate, windows in self.taken.items():
            good = [w.counters for w in windows if w.error is None]
            kept[gate] = (windows[-1].end, good[-1] if good else "")
        return Stored(kept)

    def sums(self, gate: str) -> tuple[Counts, Counts]:
        windows = [w for w in self.taken.get(gate, ()) if w.error is None]
        return sum_of(w.candidate for w in windows), sum_of(w.stable or Counts() for w in windows)


def sum_of(counts: Iterable[Counts]) -> Counts:
    found = Counts()
    for one in counts:
        found = found + one
    return found


def serve(server: Server, dice: random.Random) -> None:
    """A few requests, some bad and some slow."""
    ok, bad, slow = dice.randint(0, 9), dice.randint(0, 2), dice.randint(0, 1)
    server.ok, server.bad, server.slow = server.ok + ok, server.bad + bad, server.slow + min(slow, ok)


def counted(server: Server, before: tuple[int, int, int]) -> Counts:
    ok, bad, _ = before
    return Counts(bad=server.bad - bad, total=server.ok + server.bad - ok - bad)


@pytest.mark.parametrize("seed", range(6))
async def test_given_kills_at_any_time_when_windows_go_on_then_they_add_up_to_what_the_servers_counted(
    world: World, seed: int
) -> None:
    dice, ledger, gates = random.Random(seed), Ledger(), (WORSE, OFTEN, SHAPE)
    begun = {name: (s.ok, s.bad, s.slow) for name, s in (("old", world.old), ("new", world.new))}
    world.watch(gates=gates)
    await settle()
    while world.clock.time < 250:
        for server in (world.old, world.new):
            serve(server, dice)
        await world.clock.forward(dice.choice([0.25, 1, 2.5, 7]))
        if dice.random() < 0.5:
            ledger.look(world)
        # Before its first window a gate has no counters to go on from: what it saw until then is baseline again.
        if len(ledger.taken) == len(gates) and dice.random() < 0.2:
            await world.restart()
            await world.clock.forward(dice.choice([0, 0.5, 40]))
            world.watch(gates=gates, stored=ledger.stored)
    await world.clock.forward(40)
    ledger.look(world)
    for gate in ("worse", "often"):
        expected = counted(world.new, begun["new"]), counted(world.old, begun["old"])
        first = ledger.taken[gate][0]
        assert first.start == EPOCH
        assert ledger.sums(gate) == expected
    slow = [edge for w in ledger.taken["shape"] for edge in w.edges]
    assert sum(edge.stable for edge in slow) == world.old.slow - begun["old"][2]
    assert sum(edge.candidate for edge in slow) == world.new.slow - begun["new"][2]


async def begin(world: World, gate: Gate = WORSE, pods: ArmPods | None = None) -> Ledger:
    """A first window with 10 requests of the candidate and 100 of stable."""
    world.watch(gates=(gate,), pods=pods)
    await settle()
    world.old.ok, world.new.ok = world.old.ok + 100, world.new.ok + 10
    await world.clock.forward(13)
    ledger = Ledger()
    ledger.look(world)
    assert ledger.sums(gate.name) == (Counts(total=10), Counts(total=100))
    return ledger


async def test_given_a_pod_that_restarted_meanwhile_when_read_again_then_it_counts_from_zero(world: World) -> None:
    ledger = await begin(world)
    await world.restart()
    world.old.ok, world.old.bad, world.old.process = 5000, 13, 2.0
    world.new.ok += 7
    world.watch(gates=(WORSE,), stored=ledger.stored)
    await world.clock.forward(13)
    ledger.look(world)
    assert ledger.sums("worse") == (Counts(total=17), Counts(bad=13, total=5113))


async def test_given_pods_that_came_meanwhile_when_first_read_then_new_ones_count_from_zero(world: World) -> None:
    ledger = await begin(world)
    await world.restart()
    young, old = Pod("m-new-2", "10.0.0.3", 8080, started=EPOCH + 12), Pod("m-new-3", "10.0.0.4", 8080, started=EPOCH)
    world.pages.servers |= {"10.0.0.3": Server(ok=4, bad=1), "10.0.0.4": Server(ok=500)}
    pods = replace(world.pods, candidate=(*world.pods.candidate, young, old))
    world.watch(gates=(WORSE,), stored=ledger.stored, pods=pods)
    await world.clock.forward(13)
    ledger.look(world)
    assert ledger.sums("worse")[0] == Counts(bad=1, total=15)


async def test_given_a_pod_that_the_operator_learns_of_late_when_first_read_then_it_is_not_counted_twice(
    world: World,
) -> None:
    second = Pod("m-new-2", "10.0.0.3", 8080, started=EPOCH + 2)
    server = Server()
    world.pages.servers["10.0.0.3"] = server
    pods = replace(world.pods, candidate=(*world.pods.candidate, second))
    world.watch(gates=(WORSE,), pods=pods)
    await settle()
    server.ok = 8
    await world.clock.forward(13)
    ledger = Ledger()
    ledger.look(world)
    await world.restart()
    server.ok = 9
    world.watch(gates=(WORSE,), stored=ledger.stored)
    await world.clock.forward(1)
    world.watch(gates=(WORSE,), pods=pods)
    await world.clock.forward(13)
    ledger.look(world)
    assert ledger.sums("worse")[0] == Counts(total=9)


@pytest.mark.parametrize(
    "change",
    ["other metric", "other width", "other stage", "from the future", "garbage", "nothing"],
)
async def test_given_counters_that_are_about_something_else_when_restarted_then_it_begins_now(
    world: World, change: str
) -> None:
    ledger = await begin(world)
    await world.restart()
    world.old.ok, world.new.ok = world.old.ok + 50, world.new.ok + 5
    (end, text), collect, gate, metrics = ledger.stored.resume["worse"], COLLECT, WORSE, Metrics()
    if change == "other metric":
        metrics = Metrics(names=RequestMetrics(code_label="code", requests="http_requests_total", pod_label="p"))
        metrics = metrics.model_copy(update={"names": metrics.names.model_copy(update={"code_label": "status"})})
    elif change == "other width":
        gate = gate.model_copy(update={"interval": "5s"})
    elif change == "other stage":
        collect = replace(COLLECT, key="1/1", since=EPOCH + 12)
    elif change == "from the future":
        end = EPOCH + 600
    else:
        text = text[:-1] + "x" if change == "garbage" else ""
    world.watch(collect, gates=(gate,), metrics=metrics, stored=Stored({"worse": (end, text)}))
    await world.clock.forward(14)
    assert all(w.candidate == Counts() and (w.stable or Counts()) == Counts() for w in world.windows())
    assert world.windows()


async def test_given_a_prometheus_when_restarted_then_counts_go_on_from_what_was_told(
    world: World, fake: FakePrometheus
) -> None:
    served = {"m-old-1": 1000, "m-new-1": 10}

    def respond(_: str) -> Answer:
        return vector(*[row(pod, "200", n) for pod, n in served.items()])

    fake.respond = respond
    world.watch(gates=(WORSE,), metrics=source(fake))
    await pass_time(world, 1, fake)
    ledger = Ledger()
    for _ in range(6):
        served = {pod: n + 10 for pod, n in served.items()}
        await pass_time(world, 3, fake)
    ledger.look(world)
    before = ledger.sums("worse")
    assert before[0].total > 0
    await world.restart()
    served = {pod: n + 1000 for pod, n in served.items()}
    world.watch(gates=(WORSE,), metrics=source(fake), stored=ledger.stored)
    await pass_time(world, 24, fake)
    ledger.look(world)
    # The first change of all was the baseline: 10 of 60 requests came before the evidence.
    assert ledger.sums("worse") == (Counts(total=1050), Counts(total=1050))
    await world.stop()
    await world.start()
