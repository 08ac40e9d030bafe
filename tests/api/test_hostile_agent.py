"""A hostile agent with nothing but its own credentials, against the API server's policies: no promise breaks.

Hypothesis makes up what it tries (harness/hostile.py); the judge (harness/promises.py) is written from the promises.
While it lasts, people must get through at all times.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.api.harness.api import Api, eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.guarded import Guarded
from tests.api.harness.hostile import Attack, Scene, Shot, attacks, pleading
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from tests.api.harness.promises import PERMITS, spent
from tests.api.harness.promises import ROLLOUTS as NAMES
from tests.api.harness.promises import policy as agent_policy
from tests.api.harness.siege import People, Siege
from weir.api.agentpolicy import PERMIT_LABEL, POLICY_NAME
from weir.api.kinds import KINDS
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    DEPLOYMENTS,
    HTTP_ROUTES,
    ROLE_BINDINGS,
    ROLLOUTS,
    SERVICE_ACCOUNTS,
    SERVICES,
    KubeObject,
    Resource,
)
from weir.workload.manifests import LABEL_ROLLOUT

pytestmark = [pytest.mark.api, pytest.mark.timeout(1200)]

_VOLLEYS = 60
_MANY = 2000
_PLEAS = 100
_SLOW: Spec = {"canary": {"steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50, "minDuration": "10m"}]}}
_USUAL = 20.0
"""Seconds in which people's requests are carried out on a loaded machine, flood or not; about one on an idle one."""

_FIRE = settings(
    max_examples=_VOLLEYS,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a volley changes the cluster: the same one again would meet taken names
    suppress_health_check=list(HealthCheck),
)


# --- the ground ----------------------------------------------------------------------------------------------------


def _account(lab: Lab, namespace: str, name: str) -> tuple[str, Path]:
    """A ServiceAccount with the role of agents; its user name, and a kubeconfig with its token."""
    lab.api.create(SERVICE_ACCOUNTS, {"metadata": {"name": name, "namespace": namespace}})
    group = "rbac.authorization.k8s.io"
    lab.api.create(
        ROLE_BINDINGS,
        {
            "metadata": {"name": f"agent-{name}", "namespace": namespace},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "weir-agent"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    )
    return f"system:serviceaccount:{namespace}:{name}", lab.kubeconfig_for(namespace, name)


def _allow_everything(lab: Lab, namespace: str, name: str) -> None:
    """Somebody was careless and gave the agent every right on what Weir writes in the namespace."""
    group = "rbac.authorization.k8s.io"
    groups = ["weir.dev", "apps", "gateway.networking.k8s.io"]
    meta = {"name": f"careless-{name}", "namespace": namespace}
    lab.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": meta,
            "rules": [
                {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]},
                {"apiGroups": [""], "resources": ["services"], "verbs": ["*"]},
            ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": meta["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    )


def _policy(lab: Lab, namespace: str) -> None:
    body = {"metadata": {"name": POLICY_NAME, "namespace": namespace}, "spec": agent_policy(namespace)}
    lab.api.create(AGENT_POLICIES, body)


def _in_force(scene: Scene, kubeconfig: Path) -> None:
    """Returns once the API server's policies know the AgentPolicy and the agent's role."""
    attack = replace(pleading(scene, 0), query={"dryRun": "All"})
    last: list[Shot] = []

    def let_through() -> bool:
        last[:] = [attack.fire(Api(kubeconfig), time.time())]
        return last[0].through

    try:
        eventually(let_through, "the agent may ask")
    except AssertionError as error:
        raise AssertionError(f"{error}: {last[0].message}") from None


def _everything(lab: Lab, namespace: str) -> dict[str, Any]:
    """All of Weir's objects in the namespace but ActionRequests, without what servers keep to themselves."""
    found = {}
    for kind in KINDS:
        resource = Resource("weir.dev", "v1alpha1", kind.plural, kind.name, namespaced=not kind.cluster_scoped)
        if kind.cluster_scoped or resource == ACTION_REQUESTS:
            continue
        for obj in lab.api.list(resource, namespace):
            meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
            found[f"{kind.name}/{meta['name']}"] = {**obj, "metadata": meta}
    return found


_LIVE = (DEPLOYMENTS, SERVICES, HTTP_ROUTES)


def _live(lab: Lab, namespace: str) -> list[Spec]:
    """What Weir would have made for the Rollout `digits`, by its labels; as it is stored."""
    meta = {"name": "digits", "namespace": namespace, "labels": {LABEL_ROLLOUT: "digits"}}
    labels = {"app": "digits"}
    container = {"name": "model", "image": "registry.example/digits:1"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    specs: tuple[Spec, ...] = (
        {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod},
        {"selector": labels, "ports": [{"port": 80}]},
        {"parentRefs": [{"name": "web"}]},
    )
    return [_written(lab.api.create(r, {"metadata": meta, "spec": s})) for r, s in zip(_LIVE, specs, strict=True)]


def _written(obj: KubeObject) -> Spec:
    return {"labels": obj["metadata"].get("labels"), "spec": obj["spec"], "uid": obj["metadata"]["uid"]}


# --- without an operator -------------------------------------------------------------------------------------------


@pytest.fixture
def desk(lab: Lab) -> Iterator[Guarded]:
    """A namespace with three Rollouts whose releases run, and people with rights to them; nobody executes anything."""
    made = Guarded(lab)
    for name in NAMES:
        made.create(lab.api, name)
        made.tell(name)
    _policy(lab, made.namespace)
    yield made
    # An operator that runs in a later test has nothing to do with it.
    lab.api.delete(AGENT_POLICIES, made.namespace, POLICY_NAME)
    lab.api.call("DELETE", ACTION_REQUESTS.path(made.namespace))
    lab.api.call("DELETE", ROLLOUTS.path(made.namespace))


@pytest.mark.parametrize("careless", [False, True], ids=["role of agents", "every right in the namespace"])
def test_given_no_operator_when_an_agent_tries_everything_then_nothing_but_what_its_permits_allow_is_stored(
    lab: Lab, desk: Guarded, careless: bool
) -> None:
    oncall, numbers = desk.user("oncall", "weir-actor"), itertools.count()
    theirs = [desk.ask(oncall, action) for action in ("Abort", "Pause")]
    others = [(r["metadata"]["name"], r["metadata"]["uid"]) for r in theirs]
    user, kubeconfig = _account(lab, desk.namespace, "mallory")
    scene = Scene(desk.namespace, user, others)
    _in_force(scene, kubeconfig)
    if careless:
        _allow_everything(lab, desk.namespace, "mallory")
        eventually(lambda: desk.may(Api(kubeconfig), "promote"), "the careless role")
    live = _live(lab, desk.namespace)
    before = _everything(lab, desk.namespace)
    names = {"actionrequests": [name for name, _ in others], "agentpolicies": [POLICY_NAME]}

    def goes_back() -> float:
        """A person's Rollback, from the wish to the answer that it is stored."""
        api = _acting(lab, "oncall")
        began = time.monotonic()
        desk.ask(api, ("Rollback", "Abort")[next(numbers) % 2])
        return time.monotonic() - began

    with Siege(lab, scene, kubeconfig) as siege, People(goes_back) as people:

        @_FIRE
        @given(attacks(scene, names))
        def besieged(volley: list[Attack]) -> None:
            siege.volley(volley)

        besieged()
    print(f"\n{siege.told()}\npeople: {people.told()}")

    siege.check()
    assert _everything(lab, desk.namespace) == before
    assert [_written(lab.api.get(resource, desk.namespace, "digits")) for resource in _LIVE] == live
    assert [lab.api.get(ACTION_REQUESTS, desk.namespace, name) for name, _ in others] == theirs
    assert len(siege.shots) > 1500
    assert people.failures == []
    assert max(people.seconds) < _USUAL
    stored = {r["spec"].get("permit") for r in siege.requests()}
    usable = {p["name"] for p in PERMITS} - {"friends", "never"}
    assert stored - {None} == usable, "what is allowed gets through"


def test_given_many_at_once_when_they_want_the_same_slots_then_a_budget_is_never_exceeded(
    lab: Lab, desk: Guarded
) -> None:
    user, kubeconfig = _account(lab, desk.namespace, "mallory")
    scene = Scene(desk.namespace, user)
    _in_force(scene, kubeconfig)
    path = scene.path("actionrequests")

    def body(slot: int) -> Spec:
        return {
            "apiVersion": ACTION_REQUESTS.api_version,
            "kind": ACTION_REQUESTS.kind,
            "metadata": {"name": f"halt-@3600+0@-{slot}", "labels": {PERMIT_LABEL: "halt"}},
            "spec": {"action": "Abort", "rolloutRef": {"name": "letters"}, "reason": "race", "permit": "halt"},
        }

    shots: list[Shot] = []
    barrier = threading.Barrier(8)

    def race(number: int) -> None:
        api = Api(kubeconfig)
        barrier.wait(30)
        # Everybody begins at another slot, and tries those beyond the limit too.
        shots.extend(
            Attack("race", "POST", path, body((slot + number) % 12)).fire(api, time.time()) for slot in range(25)
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(race, range(8)))

    with Siege(lab, scene, kubeconfig) as siege:
        siege.check()
        windows = spent(siege.requests())
    assert len(shots) == 200
    # An hour may end in the middle of it, and then there are two windows.
    assert sorted(windows.values())[-1] == 6
    assert sum(shot.through for shot in shots) == sum(windows.values()) <= 6 * len(windows)


def test_given_thousands_of_requests_when_people_act_then_the_api_server_answers_them_as_before(
    lab: Lab, desk: Guarded
) -> None:
    user, kubeconfig = _account(lab, desk.namespace, "mallory")
    scene = Scene(desk.namespace, user)
    _in_force(scene, kubeconfig)
    oncall, ada = desk.user("oncall", "weir-actor"), desk.user("ada", "weir-approver")
    first = pleading(scene, _MANY).fire(Api(kubeconfig), time.time()).answer

    def seconds() -> tuple[float, float]:
        """The shortest of some: of a Rollback, and of an answer to a request of the agent; load adds to the others."""
        backs, denials = [], []
        for _ in range(15):
            backs.append(_timed(lambda: desk.ask(oncall, "Rollback")))
            denials.append(_timed(lambda: desk.ask(ada, "Deny", request=_about(first))))
        return min(backs), min(denials)

    before = seconds()
    with Siege(lab, scene, kubeconfig) as siege:
        siege.flood(_MANY)
        after = seconds()
        siege.check()
    print(
        f"\nRollback and Deny: {before[0]:.3f} and {before[1]:.3f} s, among {_MANY} requests {after[0]:.3f} and {after[1]:.3f} s"
    )
    assert after[0] < before[0] + 0.1, "what is no answer is not compared with every request"
    assert max(after) < 0.5


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _about(request: KubeObject) -> Spec:
    return {"name": request["metadata"]["name"], "uid": request["metadata"]["uid"]}


# --- with an operator ----------------------------------------------------------------------------------------------


def test_given_an_operator_when_an_agent_floods_it_then_people_stop_releases_within_the_usual_time(
    lab: Lab, operator: Operator
) -> None:
    case = Case(lab)
    for number in range(1, 9):
        case.version(f"v{number}")
    case.create(strategy=_SLOW)
    case.wait_ready()
    lab.allow_actions("people")
    _policy(lab, case.namespace)
    user, kubeconfig = _account(lab, case.namespace, "mallory")
    scene = Scene(case.namespace, user)
    _in_force(scene, kubeconfig)
    versions = itertools.count(2)

    def stops_a_release() -> float:
        """A person's Abort of a release that has begun: from the wish until its status says that it is done."""
        case.release(f"v{next(versions)}")
        case.wait(lambda status: status.get("phase") == "Shifting" and status.get("weight"), "a canary", within=60)
        began = time.monotonic()
        name = case.act("Abort", by=lab.api.acting_as("ada", "people"))
        assert case.answer(name, within=60)["phase"] == "Succeeded"
        took = time.monotonic() - began
        case.wait(lambda status: not status.get("weight"), "no traffic for it", within=60)
        return took

    asked, usual = _asked(case), stops_a_release()
    cpu = operator.cpu_seconds()
    seconds: list[float] = []
    person = threading.Thread(target=lambda: seconds.extend(stops_a_release() for _ in range(5)), daemon=True)
    with Siege(lab, scene, kubeconfig) as siege:

        @settings(_FIRE, max_examples=3)
        @given(attacks(scene, {"agentpolicies": [POLICY_NAME]}))
        def besieged(volley: list[Attack]) -> None:
            siege.volley(volley)

        person.start()
        while not siege.broken and (person.is_alive() or len(siege.shots) < 1500):
            siege.flood(_PLEAS)
            besieged()
        siege.check()
    print(f"\n{siege.told()}\nAbort before: {usual:.2f} s, in the flood: {[round(s, 2) for s in seconds]}")
    print(f"operator: {operator.cpu_seconds() - cpu:.1f} CPU s, {operator.rss_bytes() // 2**20} MiB")

    assert len(seconds) == 5, "a person's Abort was not carried out"
    assert max(seconds) < _USUAL
    _nothing_was_executed_beyond_the_policy(lab, case, siege, asked)


def _asked(case: Case) -> Spec:
    return {key: value for key, value in case.rollout()["spec"].items() if key != "versionRef"}


def _nothing_was_executed_beyond_the_policy(lab: Lab, case: Case, siege: Siege, asked: Spec) -> None:
    mine = {r["metadata"]["uid"] for r in siege.requests()}
    done = [entry for entry in case.handled() if entry["uid"] in mine and entry["phase"] == "Succeeded"]
    assert {entry["action"] for entry in done} <= {"ShiftTraffic"}, "all others need a person, or are for others"
    at_once = Counter(entry["uid"] for entry in done)
    assert set(at_once.values()) <= {1}
    assert _asked(case) == asked, "only people changed the Rollout, and only its versionRef"
    ledger = lab.api.get(AGENT_POLICIES, case.namespace, POLICY_NAME)["status"]
    consents = [c["by"] for entry in ledger.get("waiting", []) for c in entry.get("consents", [])]
    assert consents == []
    assert not [g for g in ledger.get("granted", []) if g["action"] in ("Promote", "Retrain")]
    assert all(len(ledger.get(key, [])) <= 50 for key in ("waiting", "granted", "denied", "last"))
    phases = Counter((r.get("status") or {}).get("phase", "") for r in siege.requests())
    print(f"what became of the agent's requests: {dict(phases)}")


_APIS = threading.local()


def _acting(lab: Lab, user: str) -> Api:
    """The API server as a user, one connection for each thread."""
    known: dict[tuple[int, str], Api] = _APIS.__dict__.setdefault("known", {})
    return known.setdefault((id(lab), user), lab.api.acting_as(user))
