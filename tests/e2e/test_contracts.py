"""Data contracts on real pods and files: what forbids a release, how it goes on, and what a check survives."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from testbed import digits
from testbed.cluster import Cluster, CommandFailed, wait_for
from testbed.contracts import Upstream, document, pretty
from testbed.scenario import Release, Space, Spaces

_PIXEL = {"minimum": 0, "maximum": 16}
SCANS: list[dict[str, Any]] = [
    {"name": "brightness", "logicalType": "number", "required": True, "logicalTypeOptions": _PIXEL},
    {"name": "digit", "logicalType": "integer", "required": True, "logicalTypeOptions": {"minimum": 0, "maximum": 9}},
]
_WHOLE = "SELECT (i % 17)::DOUBLE AS brightness, (i % 10)::INTEGER AS digit FROM range(5000) AS r(i)"
_HOLES = (
    "SELECT if(i % 50 = 0, NULL, (i % 17)::DOUBLE) AS brightness, (i % 10)::INTEGER AS digit FROM range(5000) AS r(i)"
)
_EVIL = {
    "a-file": "SELECT count(*) FROM read_text('/plan/plan.json')",
    "a-path": "SELECT count(*) FROM '/plan/plan.json'",
    "writing": "COPY (SELECT * FROM {object}) TO '/tmp/stolen.csv'",
    "two": "SELECT 1; INSTALL httpfs",
    "settings": "SELECT count(*) FROM duckdb_settings()",
    "environment": "SELECT getenv('KUBERNETES_SERVICE_HOST')",
}
_OUTSIDE = {
    "upwards": "../../var/run/secrets/kubernetes.io/serviceaccount/token",
    "absolute": "/plan/plan.json",
    "pattern": "/data/pattern/../../plan/*",
    "link": "link.parquet",
}
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@pytest.fixture(scope="module")
def space(spaces: Spaces, check_image: str) -> Space:
    """A namespace with the artifacts of the digits model."""
    return spaces("contracts")


@pytest.fixture(scope="module")
def served(space: Space, upstream: Upstream) -> Space:
    """People use v1, which was trained on `scans`, as v2 was."""
    upstream.write("scans.parquet", _WHOLE)
    upstream.contract("scans", document("scans", SCANS))
    for label in ("v1", "v2"):
        space.version(label, contracts={"trainedOn": ["scans"]})
    space.traffic()
    # The first release asks for the check that it needs by itself.
    space.serving("v1", timeout=240)
    assert upstream.status("scans")["verdict"] == "Pass"
    space.used()
    return space


@pytest.fixture(scope="module")
def upstream(cluster: Cluster, space: Space) -> Iterator[Upstream]:
    """Where the files come from that contracts in the namespace describe."""
    made = Upstream(cluster, space.name)
    made.start()
    yield made
    made.stop()


def _findings(release: Release) -> list[dict[str, Any]]:
    """What contracts say against the release now."""
    return list((release.latest.status.get("contracts") or {}).get("findings") or [])


def _held(release: Release, reason: str, timeout: float = 60.0) -> str:
    """Waits until the release is held for that reason; returns the message."""
    look = release.until(f"held: {reason}", lambda at: (at.status.get("hold") or {}).get("reason") == reason, timeout)
    return str(look.status["hold"]["message"])


# --- releases ----------------------------------------------------------------------------------------------------------


def test_given_a_column_with_nulls_upstream_then_a_release_waits_until_it_is_repaired_and_no_request_fails(
    served: Space, upstream: Upstream
) -> None:
    upstream.write("scans.parquet", _HOLES)
    failed = upstream.check("scans", "after-the-change")
    release = served.release("v2")

    assert failed.verdict == "Fail", failed
    told = _held(release, "ContractFailed")
    assert "scans.brightness" in told, told
    assert "100" in told, told  # of 5000 rows
    assert [(f["rule"], f["verdict"], f["effect"]) for f in _findings(release)] == [("Check", "Fail", "BlockPromotion")]
    assert release.weights() == [0]

    upstream.write("scans.parquet", _WHOLE)
    assert upstream.check("scans", "after-the-repair").verdict == "Pass"

    # Nobody does anything to the Rollout.
    release.promoted()
    users = served.more_users(served.users())
    assert users.failed == 0, users
    assert users.of("v2").answered > 0
    assert release.weights() == [0, 20, 50, 100]


def test_given_inputs_that_drift_during_a_canary_then_it_is_held_and_after_the_grace_put_back(served: Space) -> None:
    space = served
    code = "print(open('/models/profile.json').read())"
    profile = space.cluster.kubectl("exec", "-n", space.name, f"deploy/{digits.LOAD}", "--", "python", "-c", code)
    meta = {"name": "training-profile", "namespace": space.name}
    space.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"profile.json": profile}})
    odcs = document("images", [{"name": "intensity", "logicalType": "number"}])
    watched = {"name": "intensity", "property": "images.intensity", "tolerance": "0.2", "minSamples": 100}
    space.cluster.apply(
        {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "DataContract",
            "metadata": {"name": "images", "namespace": space.name},
            "spec": {
                "odcs": odcs,
                "roles": ["TrainingInput"],
                "reference": {"configMapRef": {"name": "training-profile", "key": "profile.json"}},
                "drift": [{**watched, "source": "Live"}],
                "live": {"interval": "1s"},
                "enforcement": {"onDrift": "Rollback", "grace": "5s"},
            },
        }
    )
    space.version("v4", weights="v2", contracts={"trainedOn": ["images"]})
    steps = [{"weight": 50, "minDuration": "60s"}]
    space.configure(strategy={"canary": {"steps": steps, "bake": "3s"}})
    release = space.release("v4")
    release.in_stage("Traffic(50)")

    space.cluster.http(space.name, digits.LOAD, 8081, "inputs/inverted", method="POST")

    try:
        told = _held(release, "DataDrifted", timeout=90)
        assert "images.intensity" in told, told
        back = release.rolled_back()
    finally:
        space.cluster.http(space.name, digits.LOAD, 8081, "inputs/heldout", method="POST")
    held = next(at for at in release.looks() if (at.status.get("hold") or {}).get("reason") == "DataDrifted")
    assert 4.0 <= back.at - held.at <= 40.0, (held, back)
    last = release.record()["decisions"][-2]
    assert last["reason"] == "DataDrifted", pretty(release.record()["decisions"])
    assert "images.intensity" in last["message"], last


# --- checks ------------------------------------------------------------------------------------------------------------


def test_given_a_pod_of_a_check_that_is_killed_then_another_one_ends_the_check(
    space: Space, upstream: Upstream
) -> None:
    upstream.write("kept.parquet", _WHOLE)
    upstream.contract("kept", document("kept", SCANS))
    wait_for("the contract accepted", lambda: upstream.status("kept").get("digest"))

    upstream.ask("kept", "killed")
    victim = wait_for("a pod of the check", lambda: upstream.pods("killed"), interval=0.1)[0]["metadata"]["name"]
    space.cluster.kubectl("delete", "pod", victim, "-n", space.name, "--grace-period=0", "--force")

    assert upstream.result("kept", "killed").verdict == "Pass"
    assert [p["metadata"]["name"] for p in upstream.pods("killed")] != [victim]


def test_given_no_file_then_the_verdict_is_unknown_and_says_where_it_was_looked_for(upstream: Upstream) -> None:
    upstream.contract("absent", document("absent", SCANS))

    check = upstream.check("absent", "nothing-there")

    assert check.verdict == "Unknown", check
    assert "absent.parquet" in check.message, check.message


def test_given_a_file_larger_than_the_memory_of_the_pod_then_it_is_checked_and_the_node_stays_well(
    cluster: Cluster, upstream: Upstream
) -> None:
    columns = [f"c{number}" for number in range(12)]
    written = upstream.write(
        "large.parquet",
        f"SELECT {', '.join(f'random() AS {name}' for name in columns)} FROM range(8000000)",
        "COMPRESSION uncompressed, ROW_GROUP_SIZE 122880",
        timeout=300,
    )
    assert written > 600 * 2**20, written
    bound = {"minimum": 0, "maximum": 1}
    properties = [
        {"name": name, "logicalType": "number", "required": True, "logicalTypeOptions": bound} for name in columns
    ]
    limits = {"limits": {"memory": "512Mi"}}
    upstream.contract("large", document("large", properties), engine={"resources": limits})

    check = upstream.check("large", "large-file", timeout=180)
    upstream.remove("large.parquet")

    assert check.verdict == "Pass", check
    assert check.status["servers"][0]["rows"] == 8_000_000
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    said = {c["type"]: c["status"] for node in nodes for c in node["status"]["conditions"]}
    assert said == {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}


def test_given_queries_that_reach_beyond_the_contract_then_they_are_not_run(upstream: Upstream) -> None:
    upstream.write("evil.parquet", _WHOLE)
    rules = [{"type": "sql", "name": name, "query": query, "mustBe": 1} for name, query in _EVIL.items()]
    upstream.contract("evil", document("evil", SCANS, quality=rules))

    check = upstream.check("evil", "evil-queries")

    assert check.verdict == "Unknown", check
    assert {r["name"]: (r["rule"], r["verdict"]) for r in check.results} == dict.fromkeys(_EVIL, ("sql", "Unknown"))
    assert not any(result.get("observed") for result in check.results), check.results


def test_given_paths_that_lead_out_of_the_claim_then_nothing_is_read(upstream: Upstream) -> None:
    upstream.run(f"import os; os.symlink('{_TOKEN}', '/data/link.parquet')")
    upstream.contract("outside", document("outside", SCANS, paths=_OUTSIDE))

    check = upstream.check("outside", "paths-outside")

    assert check.verdict == "Unknown", check
    assert len(check.told) == len(_OUTSIDE)
    assert all("leads out of the folder" in entry["message"] for entry in check.told), pretty(check.told)
    assert all(server.get("rows", 0) == 0 for server in check.status["servers"]), check.status
    assert not any(result.get("observed") for result in check.results), check.results


def test_given_people_with_every_right_then_only_the_pod_of_a_check_writes_its_result(
    space: Space, upstream: Upstream
) -> None:
    upstream.write("own.parquet", _HOLES)
    upstream.contract("own", document("own", SCANS))
    check = upstream.check("own", "honest")
    assert check.verdict == "Fail"
    assert check.status["finishedAt"]
    upstream.remove("own.parquet")
    ada = f"ada-{uuid.uuid4().hex[:5]}"
    role = ["create", "rolebinding", ada, "-n", space.name, "--clusterrole=edit", f"--user={ada}"]
    space.cluster.kubectl(*role)
    # One that nobody has written yet: its contract does not exist.
    upstream.ask("nothing", "blank")
    forged = {"status": {**check.status, "verdict": "Pass", "results": []}}
    words = ["patch", "--subresource=status", "--type=merge", "-n", space.name, "-p", json.dumps(forged)]

    for name in ("honest", "blank"):
        with pytest.raises(CommandFailed, match=r'cannot \w+ resource "contractchecks/status"'):
            space.cluster.kubectl(*words, "contractchecks.weir.dev", name, f"--as={ada}")
        # Who may write everything is refused by the API server's policy.
        with pytest.raises(CommandFailed, match="only that pod writes its result"):
            space.cluster.kubectl(*words, "contractchecks.weir.dev", name)

    found = space.cluster.get("contractchecks.weir.dev", "honest", space.name) or {}
    assert found["status"] == check.status
