"""What a status tells people: every outcome and every wait once, under an id that never changes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.specs import canary
from tests.unit.release.scenario import releasing, serving
from weir.api.base import Condition
from weir.api.rolloutstatus import Hold, Outcome, Phase, ReleaseSummary, RolloutStatus, VersionStatus
from weir.notify.alerts import LASTING, PASSING, Alert, Kind, Severity, Subject, alerts
from weir.release.conditions import invalid_spec
from weir.release.observation import Problem

NOW = 1_800_000_000.0
DEMO = Subject("team", "demo", "uid-1")


def version(label: str) -> VersionStatus:
    return VersionStatus(version=f"demo-{label}", label=label, digest="sha256:1", revision=label, pool=f"demo-{label}")


def summary(release: int, outcome: Outcome, **changes: Any) -> ReleaseSummary:
    fields = {
        "release": release,
        "candidate": version("v2"),
        "outcome": outcome,
        "reason": "Because",
        "message": "it was so",
        "started_at": NOW - 3900,
        "finished_at": NOW,
        "record": f"demo-{release}",
        **changes,
    }
    return ReleaseSummary(**fields)


def told(cluster: Cluster) -> list[Alert]:
    return list(alerts(DEMO, cluster.status))


def kinds(cluster: Cluster) -> list[Kind]:
    return [alert.kind for alert in told(cluster)]


def waiting(**changes: Any) -> RolloutStatus:
    approval = {
        "name": "before-half",
        "before": "Traffic(50)",
        "from": "group sre",
        "quorum": 2,
        "state": "Waiting",
        "digest": "sha256:abc",
        "consents": [{"by": "ann", "at": "2027-01-15T07:00:00Z", "request": "yes"}],
        "since": "2027-01-15T08:00:00Z",
        "deadline": "2027-01-16T08:00:00Z",
        **changes,
    }
    return RolloutStatus.model_validate(
        {
            "phase": "AwaitingApproval",
            "release": 4,
            "weight": 25,
            "candidate": version("v2").to_dict(),
            "stable": version("v1").to_dict(),
            "approvals": [approval],
        }
    )


def test_given_a_promotion_when_the_release_ends_then_it_is_told_as_such() -> None:
    cluster = serving()

    (alert,) = told(cluster)

    assert (alert.kind, alert.severity, alert.wait) == (Kind.PROMOTED, Severity.INFO, False)
    assert alert.title == "team/demo: label-v1 was promoted"
    assert alert.facts["release"] == "1"
    assert alert.facts["stable"] == "label-v1"
    assert alert.at == cluster.status.history[0].finished_at


def test_given_a_bad_candidate_when_it_is_put_back_then_the_gate_and_the_way_out_are_told() -> None:
    cluster = serving()
    cluster.quality["v2"] = Quality.BAD
    cluster.release("v2")
    cluster.run()

    alert = told(cluster)[-1]

    assert (alert.kind, alert.severity) == (Kind.ROLLED_BACK, Severity.ERROR)
    assert "errors: Fail" in alert.facts["gates"]
    assert "kubectl weir retry demo --namespace team" in alert.text
    assert "label-v1 serves." in alert.text
    # The aftermath is Stalled, too; that is no second alert.
    assert kinds(cluster) == [Kind.PROMOTED, Kind.ROLLED_BACK]


def test_given_an_abort_when_it_has_ended_then_who_did_it_is_told() -> None:
    cluster = releasing()
    cluster.ask("Abort")
    cluster.run()

    alert = told(cluster)[-1]

    assert alert.kind is Kind.ABORTED
    assert alert.facts["by"] == "somebody"


@pytest.mark.parametrize(
    ("outcome", "kind", "severity", "title"),
    [
        (Outcome.PROMOTED, Kind.PROMOTED, Severity.INFO, "team/demo: v2 was promoted"),
        (Outcome.ROLLED_BACK, Kind.ROLLED_BACK, Severity.ERROR, "team/demo: v2 was rolled back"),
        (Outcome.ABORTED, Kind.ABORTED, Severity.WARNING, "team/demo: v2 was aborted"),
        (Outcome.SUPERSEDED, Kind.SUPERSEDED, Severity.INFO, "team/demo: v2 was superseded"),
        (Outcome.REVERTED, Kind.REVERTED, Severity.INFO, "team/demo: v2 was withdrawn"),
        (Outcome.RESTORED, Kind.RESTORED, Severity.WARNING, "team/demo: v2 was put back into service"),
        (Outcome.DRILLED, Kind.DRILLED, Severity.INFO, "team/demo: v2 was rolled back as a drill"),
    ],
)
def test_given_an_outcome_then_it_has_its_kind_and_title(
    outcome: Outcome, kind: Kind, severity: Severity, title: str
) -> None:
    status = RolloutStatus(release=3, history=[summary(3, outcome, time_to_stable=Decimal("12.4"))])

    (alert,) = alerts(DEMO, status)

    assert (alert.kind, alert.severity, alert.title) == (kind, severity, title)
    assert (alert.facts["duration"], alert.facts["timeToStable"]) == ("1:05:00", "0:00:12")


def test_given_every_outcome_there_is_then_each_but_deleted_is_told() -> None:
    status = RolloutStatus(history=[summary(n, outcome) for n, outcome in enumerate(Outcome, 1)])

    found = alerts(DEMO, status)

    assert {alert.facts["outcome"] for alert in found} == set(Outcome) - {Outcome.DELETED}
    assert len({alert.id for alert in found}) == len(found)


def test_given_a_release_that_waits_for_approval_then_who_and_until_when_is_told() -> None:
    (alert,) = alerts(DEMO, waiting())

    assert (alert.kind, alert.severity, alert.wait, alert.lasting) == (
        Kind.AWAITING_APPROVAL,
        Severity.WARNING,
        True,
        0.0,
    )
    assert alert.title == "team/demo: v2 waits for approval before-half"
    assert "for 1 of 2 consents, from group sre" in alert.text
    assert "put back at 2027-01-16T08:00:00Z" in alert.text
    assert "kubectl weir approve demo --namespace team" in alert.text


def test_given_an_approval_that_is_open_or_granted_then_nothing_is_told() -> None:
    assert not alerts(DEMO, waiting(state="Open"))
    assert not alerts(DEMO, waiting(state="Granted"))


def test_given_another_digest_to_approve_then_it_is_another_wait_and_a_consent_more_is_not() -> None:
    def identity(**changes: Any) -> str:
        return alerts(DEMO, waiting(**changes))[0].id

    assert identity() == identity(consents=[])
    assert identity() != identity(digest="sha256:other")


def test_given_a_release_that_awaits_approval_when_it_is_stalled_by_that_then_it_is_told_once() -> None:
    stalled = Condition(
        type="Stalled", status="True", reason="WaitingForApproval", message="m", last_transition_time=NOW
    )
    status = waiting().model_copy(update={"conditions": [stalled]})

    assert [alert.kind for alert in alerts(DEMO, status)] == [Kind.AWAITING_APPROVAL]


def test_given_a_gate_without_an_answer_when_the_release_is_held_then_that_is_told() -> None:
    cluster = serving()
    cluster.quality["v2"] = Quality.NAN
    cluster.release("v2")
    cluster.run(lambda: cluster.status.phase is Phase.HELD)

    alert = told(cluster)[-1]

    assert (alert.kind, alert.severity) == (Kind.HELD, Severity.WARNING)
    assert alert.title.startswith("team/demo: label-v2 is held at Traffic(10): ")
    assert alert.facts["message"] == next(c.message for c in cluster.status.conditions if c.type == "Stalled")
    assert alert.lasting > 0


def test_given_a_hold_that_comes_and_goes_in_a_stage_then_it_is_one_wait() -> None:
    cluster = serving()
    cluster.quality["v2"] = Quality.NAN
    cluster.release("v2")
    cluster.run(lambda: cluster.status.phase is Phase.HELD)
    first, hold = told(cluster)[-1], cluster.status.hold
    assert hold is not None

    again = cluster.status.model_copy(update={"hold": hold.model_copy(update={"since": hold.since + 60})})

    assert alerts(DEMO, again)[-1].id == first.id


def test_given_a_version_that_does_not_exist_then_the_rollout_is_stalled() -> None:
    cluster = serving()
    cluster.release("v9")
    cluster.run()

    alert = told(cluster)[-1]

    assert (alert.kind, alert.severity) == (Kind.STALLED, Severity.ERROR)
    assert alert.title == "team/demo is stalled: ModelVersionNotFound"
    assert "kubectl weir why demo" in alert.text


def test_given_a_gateway_that_refuses_for_good_then_the_rollout_is_stalled() -> None:
    cluster = serving()
    cluster.blockers = (Problem("UnsupportedFeature", "the gateway cannot mirror", terminal=True),)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.hold is not None)

    assert (told(cluster)[-1].kind, told(cluster)[-1].lasting) == (Kind.STALLED, LASTING)


def test_given_a_problem_that_may_pass_then_it_must_last_longer_and_matters_less() -> None:
    cluster = serving()
    cluster.blockers = (Problem("Busy", "in a moment"),)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.hold is not None)

    alert = told(cluster)[-1]

    assert (alert.kind, alert.severity, alert.lasting) == (Kind.STALLED, Severity.WARNING, PASSING)
    cluster.blockers = ()
    cluster.run(lambda: cluster.status.hold is None)
    assert kinds(cluster) == [Kind.PROMOTED]


def test_given_a_problem_of_a_paused_release_then_nobody_is_called() -> None:
    cluster = serving()
    cluster.blockers = (Problem("UnsupportedFeature", "the gateway cannot mirror", terminal=True),)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.hold is not None)
    cluster.edit(paused=True)
    cluster.run(lambda: cluster.status.phase is Phase.PAUSED)

    assert kinds(cluster) == [Kind.PROMOTED]


def test_given_a_spec_that_cannot_be_read_then_it_is_stalled() -> None:
    before = [
        RolloutStatus(),
        RolloutStatus(phase=Phase.PAUSED),
        RolloutStatus(hold=Hold(reason="ModelVersionNotFound", message="no such ModelVersion", since=NOW - 5)),
    ]
    for each in before:
        (alert,) = alerts(DEMO, invalid_spec(each, 7, "gates.0.max: must be a ratio", NOW))

        assert (alert.kind, alert.facts["reason"], alert.at) == (Kind.STALLED, "InvalidSpec", NOW)
        assert alert.text.startswith("gates.0.max: must be a ratio")


def test_given_a_running_or_paused_release_then_there_is_nothing_to_tell() -> None:
    cluster = releasing()
    assert kinds(cluster) == [Kind.PROMOTED]

    cluster.ask("Pause")
    cluster.run(lambda: cluster.status.phase is Phase.PAUSED)

    assert kinds(cluster) == [Kind.PROMOTED]


def test_given_the_same_status_from_the_api_server_then_the_alerts_are_the_same() -> None:
    cluster = releasing(strategy=canary(10))
    cluster.ask("Abort")
    cluster.run()
    stored = RolloutStatus.model_validate(cluster.stored)

    assert [(a.id, a.title, a.text) for a in alerts(DEMO, stored)] == [(a.id, a.title, a.text) for a in told(cluster)]


def test_given_another_rollout_of_the_same_name_then_its_alerts_are_others() -> None:
    status = RolloutStatus(release=1, history=[summary(1, Outcome.PROMOTED)])

    assert alerts(DEMO, status)[0].id != alerts(replace(DEMO, uid="uid-2"), status)[0].id


def test_given_hostile_text_then_titles_are_one_line_without_control_characters() -> None:
    bad = "v2\r\nBcc: all@example.com\x1b[31m\u202e"
    status = RolloutStatus(
        release=1, history=[summary(1, Outcome.ABORTED, candidate=version(bad), message="a\x00b\nc")]
    )

    (alert,) = alerts(DEMO, status)

    assert "\n" not in alert.title
    assert alert.title.isprintable()
    assert all(c.isprintable() or c == "\n" for c in alert.text + "".join(alert.facts.values()))
