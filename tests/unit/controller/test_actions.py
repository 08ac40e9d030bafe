"""ActionRequests that no Rollout answers get an answer, and finished ones go after a while."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from weir.api.actionrequest import ActionRequestSpec, action_digest
from weir.api.base import format_time
from weir.controller.act import Actor
from weir.controller.actions import Fate, RequestReconciler, fate
from weir.controller.metrics import ReleaseMetrics
from weir.controller.observe import GRACE, Observer, answered_by, view_of
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import ApiError, Conflict, NotFound
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS, KubeObject, ObjectKey, Resource
from weir.runtime.telemetry import ReconcileScope

T0 = 1_800_000_000.0
WEEK = 7 * 86400.0
LATER = GRACE + 10.0


def request(*, name: str = "stop", at: float = T0, status: Any = None, meta: Any = None, **spec: Any) -> KubeObject:
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": "1"}
    content = {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "r", **spec}
    return {
        "metadata": {**metadata, "creationTimestamp": format_time(at), **(meta or {})},
        "spec": content,
        "status": status or {},
    }


def rollout(at: float = T0 - 1000.0, **meta: Any) -> KubeObject:
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "resourceVersion": "1"}
    strategy = {"canary": {"steps": [{"weight": 50}]}}
    return {
        "metadata": {**metadata, "creationTimestamp": format_time(at), **meta},
        "spec": {"versionRef": {"name": "v1"}, "traffic": {"service": {}}, "strategy": strategy},
    }


def test_given_no_rollout_then_the_request_waits_a_little_and_is_refused() -> None:
    early = fate(request(), None, T0 + 1, WEEK)
    assert early.status is None
    assert early.again is not None
    assert GRACE - 1 <= early.again <= LATER

    late = fate(request(), None, T0 + LATER, WEEK)

    assert late.status is not None
    assert late.status.phase == "Refused"
    assert "no Rollout named digits" in late.status.message
    assert late.status.completed_at == T0 + LATER
    assert late.status.digest == action_digest(ActionRequestSpec.model_validate(request()["spec"]))


def test_given_no_rollout_and_an_early_end_then_the_request_expires() -> None:
    short = request(expiresAfter="5s")
    assert fate(short, None, T0 + 1, WEEK) == Fate(again=4.0)
    gone = fate(short, None, T0 + 5, WEEK)
    assert gone.status is not None
    assert gone.status.phase == "Expired"


def test_given_a_rollout_then_its_own_reconciler_answers_whatever_the_time() -> None:
    for now in (T0, T0 + LATER, T0 + 10 * WEEK):
        assert fate(request(), rollout(), now, WEEK) == Fate()
    assert fate(request(), rollout(T0 + GRACE - 1), T0 + LATER, WEEK) == Fate()


def test_given_a_rollout_of_that_name_that_was_made_later_then_it_is_not_the_one_that_was_meant() -> None:
    late = rollout(T0 + LATER + 1)
    assert not answered_by(late, request())
    refused = fate(request(), late, T0 + LATER + 2, WEEK).status
    assert refused is not None
    assert refused.phase == "Refused"
    assert "created after this request" in refused.message


def test_given_a_spec_that_cannot_be_read_then_it_is_refused_and_the_field_is_named() -> None:
    for there in (None, rollout()):
        refused = fate(request(action="Reboot"), there, T0, WEEK).status
        assert refused is not None
        assert refused.phase == "Refused"
        assert refused.message.startswith("spec.action:")


@pytest.mark.parametrize("phase", ["Succeeded", "Refused", "Expired"])
def test_given_a_finished_request_then_it_goes_after_its_time(phase: str) -> None:
    done = request(status={"phase": phase, "completedAt": format_time(T0 + 50)})
    assert fate(done, rollout(), T0 + 60, WEEK) == Fate(again=WEEK - 10)
    assert fate(done, None, T0 + 50 + WEEK, WEEK) == Fate(delete=True)
    assert fate(done, None, T0 + 100 * WEEK, 0.0) == Fate()


def test_given_a_pending_request_then_it_never_goes() -> None:
    waiting = request(status={"phase": "Pending", "message": "waits"})
    assert fate(waiting, rollout(), T0 + 100 * WEEK, WEEK) == Fate()


def observed(*requests: KubeObject, there: KubeObject | None = None) -> list[str]:
    cache, mine = Cache(), there or rollout()
    cache.put(ROLLOUTS, mine)
    for each in requests:
        cache.put(ACTION_REQUESTS, each)
    return [found.name for found in Observer(cache, lambda: T0, frozenset).requests(view_of(mine))]


def test_given_requests_then_the_rollout_sees_those_that_are_its_own_and_have_no_result() -> None:
    requests = (
        request(),
        request(name="done", status={"phase": "Refused"}),
        request(name="waits", status={"phase": "Pending"}),
        request(name="withdrawn", meta={"deletionTimestamp": format_time(T0)}),
        request(name="unreadable", action="Reboot"),
        request(name="for-another", rolloutRef={"name": "letters"}),
        request(name="for-the-one-before", at=T0 - 5000),
    )
    assert observed(*requests) == ["stop", "waits"]


def test_given_a_waiting_request_then_what_it_says_and_when_it_was_made_are_seen() -> None:
    cache = Cache()
    cache.put(ROLLOUTS, rollout())
    cache.put(ACTION_REQUESTS, request(status={"phase": "Pending", "message": "until ten"}))
    [found] = Observer(cache, lambda: T0, frozenset).requests(view_of(rollout()))
    assert (found.created, found.pending) == (T0, "until ten")


@pytest.mark.parametrize(
    ("annotations", "authors"),
    [
        ({}, ()),
        ({"weir.dev/changed-by": "ada"}, ("ada",)),
        ({"weir.dev/changed-by": "ada, bob,,ada", "weir.dev/author": "eve,bob "}, ("ada", "bob", "eve")),
    ],
)
def test_given_annotations_then_who_changed_the_rollout_is_known(
    annotations: dict[str, str], authors: tuple[str, ...]
) -> None:
    assert view_of(rollout(annotations=annotations)).authors == authors


@dataclass
class Api:
    """Takes every status; a deletion fails with ``error``, if there is one."""

    error: ApiError | None = None
    deleted: list[tuple[str, str | None]] = field(default_factory=list)
    written: list[dict[str, Any]] = field(default_factory=list)

    async def delete(self, _: Resource, name: str, __: str, *, uid: str | None = None) -> None:
        self.deleted.append((name, uid))
        if self.error is not None:
            raise self.error

    async def status(self, _: KubeObject, status: dict[str, Any], __: Resource) -> None:
        self.written.append(status)


def reconciler(api: Api, cache: Cache, registry: CollectorRegistry, missing: frozenset[Resource] = frozenset()) -> Any:
    made = RequestReconciler(
        client=cast(KubeClient, api),
        cache=cache,
        guard=StaleGuard(cache),
        actor=cast(Actor, api),
        metrics=ReleaseMetrics(registry),
        missing=lambda: missing,
        keep_for=WEEK,
        wall=lambda: T0 + LATER,
    )
    return lambda: made(ObjectKey(ACTION_REQUESTS, "team", "stop"), cast(ReconcileScope, None))


async def test_given_an_orphan_then_its_refusal_is_written_and_counted() -> None:
    api, cache, registry = Api(), Cache(), CollectorRegistry()
    cache.put(ACTION_REQUESTS, request())

    assert await reconciler(api, cache, registry)() is None

    assert [status["phase"] for status in api.written] == ["Refused"]
    labels = {"namespace": "team", "action": "Abort", "phase": "Refused"}
    assert registry.get_sample_value("weir_action_requests_total", labels) == 1


@pytest.mark.parametrize("error", [None, Conflict("another uid", status=409), NotFound("gone", status=404)], ids=str)
async def test_given_a_request_that_was_kept_long_enough_then_that_very_one_is_deleted(error: ApiError | None) -> None:
    api, cache = Api(error), Cache()
    cache.put(ACTION_REQUESTS, request(status={"phase": "Refused", "completedAt": format_time(T0 - WEEK)}))

    assert await reconciler(api, cache, CollectorRegistry())() is None

    assert api.deleted == [("stop", "stop")]
    assert api.written == []


@pytest.mark.parametrize("meta", [None, {"deletionTimestamp": format_time(T0)}], ids=["unserved", "withdrawn"])
async def test_given_a_request_that_is_withdrawn_or_rollouts_that_are_not_served_then_nothing_is_written(
    meta: dict[str, str] | None,
) -> None:
    api, cache = Api(), Cache()
    cache.put(ACTION_REQUESTS, request(meta=meta))
    missing = frozenset() if meta else frozenset({ROLLOUTS})

    assert await reconciler(api, cache, CollectorRegistry(), missing)() is None

    assert (api.written, api.deleted) == ([], [])
