from weir.runtime.errors import Forbidden
from weir.runtime.events import EventWriter, cut, event_name
from weir.runtime.metrics import Metrics
from weir.runtime.resources import KubeObject

from .fakes import FakeClock, FakeStore

ROLLOUT: KubeObject = {
    "apiVersion": "weir.dev/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "digits", "namespace": "ml", "uid": "u-1"},
}


def count(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("kubernetes_events_total", {"result": result}) or 0.0


def writer(store: FakeStore, clock: FakeClock, metrics: Metrics) -> EventWriter:
    return EventWriter(store, controller="weir.dev/rollout", instance="pod-1", clock=clock, metrics=metrics)


async def test_given_a_transition_when_emitted_then_the_event_holds_what_the_api_asks_for(
    clock: FakeClock, metrics: Metrics
) -> None:
    store = FakeStore()
    events = writer(store, clock, metrics)
    written = await events.emit(
        ROLLOUT, reason="Promoted", action="Shift", note="v2 serves all", key="3/end", traceparent="00-1-2-01"
    )
    assert written
    [(_, event)] = store.writes
    assert event["regarding"] == {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Rollout",
        "name": "digits",
        "namespace": "ml",
        "uid": "u-1",
    }
    assert event["metadata"]["namespace"] == "ml"
    assert event["metadata"]["annotations"] == {"weir.dev/traceparent": "00-1-2-01"}
    assert event["eventTime"] == "2026-01-01T00:16:40.000000Z"
    assert (event["type"], event["reason"], event["action"]) == ("Normal", "Promoted", "Shift")


async def test_given_a_crash_after_the_write_when_emitted_again_then_there_is_one_event(
    clock: FakeClock, metrics: Metrics
) -> None:
    store = FakeStore()
    for _ in range(2):
        assert await writer(store, clock, metrics).emit(ROLLOUT, reason="Aborted", action="Stop", note="n", key="3/0")
    assert len(store.objects) == 1
    assert (count(metrics, "written"), count(metrics, "repeated")) == (1, 1)


async def test_given_no_right_to_write_events_when_emitted_then_it_is_counted_and_not_raised(
    clock: FakeClock, metrics: Metrics
) -> None:
    store = FakeStore()
    store.outage = Forbidden("no", status=403)
    assert not await writer(store, clock, metrics).emit(ROLLOUT, reason="Aborted", action="Stop", note="n", key="1")
    assert count(metrics, "failed") == 1


def test_given_different_transitions_when_named_then_names_differ_and_stay_valid() -> None:
    names = {
        event_name("digits", "u-1", "Held", "1/0"),
        event_name("digits", "u-1", "Held", "1/1"),
        event_name("digits", "u-2", "Held", "1/0"),
        event_name("digits", "u-1", "Pass", "1/0"),
    }
    assert len(names) == 4
    assert len(event_name("x" * 253, "u", "r", "k")) <= 253


def test_given_a_long_note_when_cut_then_it_fits_a_kilobyte_and_is_whole_characters() -> None:
    assert cut("short") == "short"
    long = cut("é" * 2000)
    assert len(long.encode()) <= 1024
    assert long.endswith("é…")
