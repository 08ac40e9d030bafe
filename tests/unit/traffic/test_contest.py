from typing import Any

from weir.runtime.resources import HTTP_ROUTES
from weir.traffic.contest import Contest, conflict_problem, other_managers
from weir.workload.writes import Write


def write(weight: int) -> Write:
    return Write("apply", HTTP_ROUTES, "ml", "digits", {"weight": weight}, "weir-traffic")


def contest() -> tuple[Contest, list[float]]:
    now = [0.0]
    return Contest(lambda: now[0]), now


def test_given_progress_when_written_then_it_is_no_fight() -> None:
    fight, _ = contest()
    for weight in range(50):
        fight.wrote(write(weight))
        assert not fight.contested(write(weight))


def test_given_the_same_write_again_and_again_when_counted_then_it_is_a_fight_until_it_is_quiet() -> None:
    fight, now = contest()
    for _ in range(3):
        fight.wrote(write(10))
        assert not fight.contested(write(10))
    fight.wrote(write(10))
    assert fight.contested(write(10))
    assert fight.contested(write(20)), "the object is fought over, whatever shall be written"
    now[0] = 61.0
    assert not fight.contested(write(10))


def test_given_rare_repairs_when_counted_then_they_are_no_fight() -> None:
    fight, now = contest()
    for _ in range(20):
        now[0] += 40.0
        fight.wrote(write(10))
        assert not fight.contested(write(10))


def test_given_an_object_that_is_gone_when_forgotten_then_counting_starts_anew() -> None:
    fight, _ = contest()
    for _ in range(5):
        fight.wrote(write(10))
    fight.forget(write(10))
    assert not fight.contested(write(10))


def entry(manager: str, operation: str, time: str, fields: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "time": time, "fieldsV1": fields}


def test_given_managed_fields_when_asked_then_the_others_are_named_latest_first() -> None:
    rules = {"f:spec": {"f:rules": {}}}
    route = {
        "metadata": {
            "managedFields": [
                entry("weir-traffic", "Apply", "2026-01-03T00:00:00Z", rules),
                entry("helm", "Apply", "2026-01-01T00:00:00Z", rules),
                entry("argocd", "Update", "2026-01-02T00:00:00Z", rules),
                entry("traefik", "Update", "2026-01-04T00:00:00Z", {"f:status": {}}),
            ]
        }
    }
    assert other_managers(route, "weir-traffic", "spec", "rules") == ("argocd (Update)", "helm (Apply)")
    problem = conflict_problem(route, write(1), "spec", "rules")
    assert problem.reason == "RouteConflict"
    assert "argocd (Update), helm (Apply)" in problem.message
    assert "somebody" in conflict_problem({"metadata": {}}, write(1), "spec", "rules").message
