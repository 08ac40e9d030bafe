import pytest

from weir.runtime.cache import Cache, EventType, StaleGuard, is_older
from weir.runtime.metrics import Metrics
from weir.runtime.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, KubeObject, ObjectKey, key_of

from .fakes import FakeClock


def deployment(name: str, version: int = 1, uid: str = "", **more: object) -> KubeObject:
    meta: KubeObject = {"name": name, "namespace": "ml", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    meta.update(more.pop("meta", {}))  # type: ignore[call-overload]
    return {"metadata": meta, "spec": {"replicas": 1}, **more}


def names(objects: list[KubeObject]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


def test_given_a_full_object_when_cached_then_bookkeeping_is_dropped_and_the_source_is_untouched() -> None:
    source = deployment(
        "a",
        meta={
            "managedFields": [{"manager": "x"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "1"},
        },
    )
    kept, change = Cache().put(DEPLOYMENTS, source)
    assert change is EventType.ADDED
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"keep": "1"}
    assert "managedFields" in source["metadata"]


def test_given_a_pod_when_cached_then_only_what_is_needed_stays() -> None:
    pod = deployment("p", meta={"labels": {"app": "x"}, "ownerReferences": [{"uid": "rs"}], "annotations": {"a": "b"}})
    pod["spec"] = {"containers": [{"name": "c", "env": [{"name": "SECRET", "value": "s"}]}]}
    pod["status"] = {
        "podIP": "10.0.0.1",
        "phase": "Running",
        "hostIP": "1.1.1.1",
        "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}],
        "initContainerStatuses": [{"name": "fetch", "state": {"waiting": {"reason": "ErrImagePull"}}, "imageID": "i"}],
        "containerStatuses": [{"name": "c", "ready": True, "image": "x", "restartCount": 2, "state": {"running": {}}}],
    }
    kept, _ = Cache().put(PODS, pod)
    assert "spec" not in kept
    assert kept["metadata"]["ownerReferences"] == [{"uid": "rs"}]
    assert "annotations" not in kept["metadata"]
    assert kept["status"] == {
        "podIP": "10.0.0.1",
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "initContainerStatuses": [{"name": "fetch", "state": {"waiting": {"reason": "ErrImagePull"}}}],
        "containerStatuses": [{"name": "c", "ready": True, "restartCount": 2, "state": {"running": {}}}],
    }


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (deployment("a", 2, status={"ready": 1}), EventType.STATUS),
        (deployment("a", 2, meta={"labels": {"x": "y"}}), EventType.MODIFIED),
        (deployment("a", 2, meta={"deletionTimestamp": "t"}), EventType.MODIFIED),
        (deployment("a", 2, uid="other"), EventType.ADDED),
        (deployment("a", 2, meta={"managedFields": [1]}), None),
        (deployment("a", 1), None),
    ],
    ids=["status", "labels", "deleting", "recreated", "bookkeeping", "same"],
)
def test_given_a_cached_object_when_it_comes_again_then_the_change_is_named(
    second: KubeObject, expected: EventType | None
) -> None:
    cache = Cache()
    cache.put(DEPLOYMENTS, deployment("a", 1))
    _, change = cache.put(DEPLOYMENTS, second)
    assert change is expected


def test_given_a_newer_object_when_an_older_event_comes_late_then_it_is_ignored() -> None:
    cache = Cache()
    cache.put(DEPLOYMENTS, deployment("a", 10, meta={"labels": {"new": "1"}}))
    kept, change = cache.put(DEPLOYMENTS, deployment("a", 9))
    assert change is None
    assert kept["metadata"]["resourceVersion"] == "10"
    assert names(cache.select(DEPLOYMENTS, labels={"new": "1"})) == ["a"]


def test_given_labels_and_owners_when_they_change_then_the_indexes_follow() -> None:
    cache = Cache()
    cache.put(DEPLOYMENTS, deployment("b", meta={"labels": {"m": "1", "v": "1"}, "ownerReferences": [{"uid": "o"}]}))
    cache.put(DEPLOYMENTS, deployment("a", meta={"labels": {"m": "1", "v": "2"}, "ownerReferences": [{"uid": "o"}]}))
    assert names(cache.select(DEPLOYMENTS, "ml", {"m": "1"})) == ["a", "b"]
    assert names(cache.select(DEPLOYMENTS, "ml", {"m": "1", "v": "2"})) == ["a"]
    assert cache.select(DEPLOYMENTS, "elsewhere", {"m": "1"}) == []
    assert cache.select(CONFIG_MAPS) == []
    assert names(cache.owned_by(DEPLOYMENTS, "o")) == ["a", "b"]
    cache.put(DEPLOYMENTS, deployment("a", 2))
    assert names(cache.select(DEPLOYMENTS, labels={"m": "1"})) == ["b"]
    assert names(cache.owned_by(DEPLOYMENTS, "o")) == ["b"]
    cache.remove(DEPLOYMENTS, deployment("b", 3))
    assert cache.select(DEPLOYMENTS, labels={"m": "1"}) == []
    assert names(cache.select(DEPLOYMENTS)) == ["a"]


def test_given_a_recreated_object_when_the_old_delete_comes_late_then_the_new_one_stays() -> None:
    cache = Cache()
    cache.put(DEPLOYMENTS, deployment("a", 5, uid="new"))
    assert cache.remove(DEPLOYMENTS, deployment("a", 4, uid="old")) is None
    assert cache.get(DEPLOYMENTS, "ml", "a") is not None


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [
        ("9", "10", True),
        ("10", "10", False),
        ("11", "10", False),
        ("x", "y", True),
        ("x", "x", False),
        (None, "1", True),
    ],
)
def test_given_versions_when_compared_then_integers_are_ordered_and_others_only_told_apart(
    version: str | None, than: str, expected: bool
) -> None:
    assert is_older(version, than) is expected


class TestStaleGuard:
    KEY = ObjectKey(DEPLOYMENTS, "ml", "a")

    def test_given_our_write_when_the_cache_is_older_then_stale_until_it_shows_it_or_more(
        self, clock: FakeClock, metrics: Metrics
    ) -> None:
        cache = Cache()
        guard = StaleGuard(cache, clock=clock, metrics=metrics)
        assert not guard.is_stale(self.KEY)
        cache.put(DEPLOYMENTS, deployment("a", 7))
        guard.wrote(DEPLOYMENTS, deployment("a", 9))
        assert guard.is_stale(self.KEY)
        cache.put(DEPLOYMENTS, deployment("a", 8))
        assert guard.is_stale(self.KEY)
        cache.put(DEPLOYMENTS, deployment("a", 12))
        assert not guard.is_stale(self.KEY)
        skips = metrics.registry.get_sample_value("stale_cache_skips_total", {"resource": "deployments.apps"})
        assert skips == 2

    def test_given_the_event_came_before_the_answer_when_written_is_noted_then_it_is_not_stale(
        self, clock: FakeClock
    ) -> None:
        cache = Cache()
        guard = StaleGuard(cache, clock=clock)
        cache.put(DEPLOYMENTS, deployment("a", 9))
        guard.wrote(DEPLOYMENTS, deployment("a", 9))
        assert not guard.is_stale(self.KEY)

    def test_given_an_object_that_is_created_and_gone_when_its_end_is_shown_then_it_is_not_stale(
        self, clock: FakeClock
    ) -> None:
        guard = StaleGuard(Cache(), clock=clock)
        guard.wrote(DEPLOYMENTS, deployment("a", 9))
        assert guard.is_stale(self.KEY)
        guard.deleted(DEPLOYMENTS, deployment("a", 11))
        assert not guard.is_stale(self.KEY)

    def test_given_a_write_that_lets_the_object_go_when_noted_then_nothing_is_waited_for(
        self, clock: FakeClock
    ) -> None:
        guard = StaleGuard(Cache(), clock=clock)
        guard.wrote(DEPLOYMENTS, deployment("a", 9, meta={"deletionTimestamp": "t"}))
        assert not guard.is_stale(self.KEY)

    async def test_given_an_event_that_never_comes_when_patience_ends_then_work_goes_on(self, clock: FakeClock) -> None:
        guard = StaleGuard(Cache(), patience=10.0, clock=clock)
        guard.wrote(DEPLOYMENTS, deployment("a", 9))
        await clock.advance(9.9)
        assert guard.is_stale(self.KEY)
        await clock.advance(0.2)
        assert not guard.is_stale(self.KEY)

    def test_given_our_own_delete_when_forgotten_then_it_is_not_stale(self, clock: FakeClock) -> None:
        guard = StaleGuard(Cache(), clock=clock)
        guard.wrote(DEPLOYMENTS, deployment("a", 9))
        guard.forget(key_of(DEPLOYMENTS, deployment("a")))
        assert not guard.is_stale(self.KEY)
