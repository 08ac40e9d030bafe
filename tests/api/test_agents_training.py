"""Retrain and Reallocate: what templates make runs to its end, and what came of it is released like any version."""

from __future__ import annotations

import pytest

from tests.api.harness.agents import Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from weir.runtime.resources import ACTION_REQUESTS, JOBS, MODEL_VERSIONS, KubeObject

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

TRAIN: Spec = {
    "name": "train",
    "action": "Retrain",
    "template": "job",
    "parameters": [{"name": "epochs", "minimum": 1, "maximum": 9, "default": "3"}],
}
JOB: Spec = {
    "name": "job",
    "action": "Retrain",
    "object": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            # No pod runs: a test says how it ends.
            "suspend": True,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {"name": "train", "image": "registry.example/train", "args": ["--epochs=${parameters.epochs}"]}
                    ],
                }
            },
        },
    },
    "result": {"modelVersion": {"runtime.image": "registry.example/digits:${request.name}"}},
}


def granted_then(agents: Agents, name: str) -> KubeObject:
    """The one entry of what has ended in the ledger."""
    return eventually(
        lambda: next((entry for entry in agents.ledger().get("last", []) if entry["name"] == name), None),
        f"the ledger remembers {name}",
    )


def ended(job: KubeObject, agents: Agents, condition: str) -> None:
    """Says of a Job what its controller would, which does not run here."""
    now = "2030-01-01T00:00:00Z"
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[condition]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now, "reason": "r", "message": ""}
        for kind in (before, condition)
    ]
    times = {"startTime": now, **({"completionTime": now} if condition == "Complete" else {})}
    name = job["metadata"]["name"]
    agents.lab.api.merge(JOBS, agents.namespace, name, {"status": {**times, "conditions": conditions}}, status=True)


def test_given_a_retrain_then_its_job_runs_and_a_version_comes_of_it(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first()
    agents = Agents(case, [TRAIN], {"templates": [JOB]})
    agents.wait_ready()

    name = agents.ask("train", parameters={"epochs": "5"})

    job = eventually(lambda: lab.api.find(JOBS, agents.namespace, name), "the Job")
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["--epochs=5"]
    [owner] = job["metadata"]["ownerReferences"]
    assert owner["uid"] == case.request(name)["metadata"]["uid"]
    runs = agents.wait_status(name, lambda s: s.get("phase") == "Running", "it runs")
    assert [made["kind"] for made in runs["created"]] == ["Job"]

    ended(job, agents, "Complete")

    answer = case.answer(name)
    assert answer["phase"] == "Succeeded", answer
    assert [made["kind"] for made in answer["created"]] == ["Job", "ModelVersion"]
    version = lab.api.get(MODEL_VERSIONS, agents.namespace, name)
    assert version["spec"]["runtime"]["image"] == f"registry.example/digits:{name}"
    assert (version["spec"]["version"], version["spec"]["model"]) == (name, "digits")
    assert version["metadata"]["labels"]["weir.dev/made-by"] == name
    assert "ownerReferences" not in version["metadata"]
    assert granted_then(agents, name)["phase"] == "Succeeded"


def test_given_a_job_that_fails_then_the_request_has_failed_and_nothing_comes_of_it(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first()
    agents = Agents(case, [TRAIN], {"templates": [JOB]})
    agents.wait_ready()
    name = agents.ask("train")
    job = eventually(lambda: lab.api.find(JOBS, agents.namespace, name), "the Job")

    ended(job, agents, "Failed")

    assert case.answer(name)["phase"] == "Failed"
    assert lab.api.find(MODEL_VERSIONS, agents.namespace, name) is None
    assert granted_then(agents, name)["phase"] == "Failed"


def test_given_a_template_of_a_kind_that_is_not_allowed_then_the_request_fails_and_says_so(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first()
    other = {"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "@daily", "jobTemplate": {}}}
    agents = Agents(case, [TRAIN], {"templates": [{**JOB, "object": other}]})
    name = agents.ask("train")
    answer = case.answer(name)
    assert answer["phase"] == "Failed"
    assert "templates may not make cronjobs.batch" in answer["message"]


def test_given_rules_then_training_leads_to_a_release_that_a_person_consents_to(lab: Lab) -> None:
    """Nobody does anything but the consent: retrain, candidate, approval, canary, promoted."""
    lab.allow_actions("sre")
    ada = lab.api.acting_as("ada", "sre")
    case = Case(lab)
    case.serve_first(gates=None)
    ship: Spec = {"name": "ship", "action": "Release", "approval": {"tier": "Approve", "quorum": 1}}
    rules: list[Spec] = [
        {"name": "stale", "when": "signals.release == 1 && signals.candidates.size() == 0", "then": "train"},
        {"name": "trained", "when": "signals.candidates.size() > 0 && !signals.releasing", "then": "ship"},
    ]
    agents = Agents(case, [TRAIN, ship], {"templates": [JOB], "rules": rules})

    def asked(permit: str) -> str:
        found = lab.api.list(ACTION_REQUESTS, agents.namespace, f"weir.dev/permit={permit}")
        return str(found[0]["metadata"]["name"]) if found else ""

    train = eventually(lambda: asked("train"), "the rule asks for a Retrain")
    ended(eventually(lambda: lab.api.find(JOBS, agents.namespace, train), "the Job"), agents, "Complete")
    release = eventually(lambda: asked("ship"), "the other rule asks for a Release of what came of it", within=60)
    assert case.request(release)["spec"]["version"] == train
    agents.wait_status(release, lambda s: s.get("digest"), "it waits for a person")
    agents.answer("Approve", release, by=ada)

    assert case.answer(release)["phase"] == "Succeeded"
    case.wait(lambda s: s["stable"]["version"] == train and s["phase"] == "Promoted", f"{train} serves", within=60)
    assert case.rollout()["spec"]["versionRef"]["name"] == "v1"
    eventually(lambda: len(case.records()) == 2, "the record of the release")
    assert [r["spec"]["candidate"]["version"] for r in case.records()] == ["v1", train]
    for permit in ("train", "ship"):
        assert len(lab.api.list(ACTION_REQUESTS, agents.namespace, f"weir.dev/permit={permit}")) == 1


def test_given_a_reallocate_then_what_the_template_names_is_changed_and_followed(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first()
    workers = {**JOB["object"], "metadata": {"name": "workers", "namespace": case.namespace}}
    lab.api.create(JOBS, workers)
    more: Spec = {
        "name": "more",
        "action": "Reallocate",
        "template": "workers",
        "parameters": [{"name": "count", "minimum": 1, "maximum": 8}],
    }
    template: Spec = {
        "name": "workers",
        "action": "Reallocate",
        "object": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "workers"},
            "spec": {"parallelism": "${parameters.count}"},
        },
        "succeeded": "object.spec.parallelism == 4",
    }
    agents = Agents(case, [more], {"templates": [template]})
    agents.wait_ready()

    done = case.answer(agents.ask("more", parameters={"count": "4"}))

    assert done["phase"] == "Succeeded", done
    stored = lab.api.get(JOBS, case.namespace, "workers")
    assert stored["spec"]["parallelism"] == 4
    assert "ownerReferences" not in stored["metadata"]
    template["object"]["metadata"]["name"] = "absent"
    agents.policy([more], templates=[template])
    agents.wait_ready()
    failed = case.answer(agents.ask("more", parameters={"count": "4"}))
    assert (failed["phase"], "absent" in failed["message"]) == ("Failed", True)
    assert lab.api.find(JOBS, case.namespace, "absent") is None
