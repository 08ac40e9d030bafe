from typing import Any

from weir.api.rolloutstatus import GateStatus, Hold, RolloutStatus, Verdict
from weir.controller.memory import REFRESH, Memories, must_write


def obj(status: RolloutStatus, uid: str = "u1") -> dict[str, Any]:
    return {"metadata": {"name": "digits", "uid": uid}, "status": status.to_dict()}


def test_given_a_first_status_then_it_is_written_at_once() -> None:
    assert must_write(RolloutStatus(), RolloutStatus(release=1), age=0.0)


def test_given_the_same_status_then_it_is_never_written() -> None:
    status = RolloutStatus(release=1, weight=20, message="waiting")

    assert not must_write(status, status, age=1e9)


def test_given_another_weight_or_a_failed_look_then_it_is_written_at_once() -> None:
    stored = RolloutStatus(release=1, weight=20, gates=[GateStatus(name="errors")])

    assert must_write(stored, stored.model_copy(update={"weight": 50}), age=0.0)
    failed = [GateStatus(name="errors", failures=1)]
    assert must_write(stored, stored.model_copy(update={"gates": failed}), age=0.0)
    broken = [GateStatus(name="errors", verdict=Verdict.FAIL)]
    assert must_write(stored, stored.model_copy(update={"gates": broken}), age=0.0)


def test_given_a_first_pass_then_it_is_written_after_a_while_and_an_error_at_once() -> None:
    stored = RolloutStatus(release=1, weight=20, gates=[GateStatus(name="errors")])
    passed = stored.model_copy(update={"verdict": "Pass", "gates": [GateStatus(name="errors", verdict=Verdict.PASS)]})
    blind = stored.model_copy(update={"verdict": "Error", "gates": [GateStatus(name="errors", verdict=Verdict.ERROR)]})

    assert not must_write(stored, passed, age=0.0)
    assert must_write(stored, passed, age=REFRESH)
    assert must_write(stored, blind, age=0.0)


def test_given_only_another_text_then_it_is_written_after_a_while() -> None:
    stored = RolloutStatus(release=1, message="3 of 50 requests")
    new = stored.model_copy(update={"message": "4 of 50 requests"})

    assert not must_write(stored, new, age=REFRESH - 0.1)
    assert must_write(stored, new, age=REFRESH)


def test_given_another_reason_to_hold_then_it_is_written_at_once_and_another_wording_is_not() -> None:
    stored = RolloutStatus(hold=Hold(reason="QuotaExceeded", message="a", since=1.0))

    assert must_write(stored, RolloutStatus(hold=Hold(reason="Forbidden", message="a", since=1.0)), age=0.0)
    assert not must_write(stored, RolloutStatus(hold=Hold(reason="QuotaExceeded", message="b", since=1.0)), age=0.0)


def test_given_a_fresher_status_in_memory_then_it_is_recalled_while_the_stored_one_agrees() -> None:
    memories = Memories()
    stored = RolloutStatus(release=1, weight=20, message="old")
    memories.of("u1").status = stored.model_copy(update={"message": "new"})

    assert memories.recall(obj(stored)).message == "new"


def test_given_a_stored_status_that_differs_in_what_matters_then_memory_gives_way() -> None:
    memories = Memories()
    memories.of("u1").status = RolloutStatus(release=1, weight=50)

    assert memories.recall(obj(RolloutStatus(release=1, weight=20))).weight == 20


def test_given_a_rollout_that_was_made_anew_then_nothing_of_its_namesake_is_recalled() -> None:
    memories = Memories()
    memories.of("u1").status = RolloutStatus(release=1, message="old")

    assert memories.recall(obj(RolloutStatus(release=1), uid="u2")).message == ""
    memories.forget("u1")
    assert memories.of("u1").status is None
