"""The operator tells people: through a real API server, its own permissions, and over kills."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.harness.api import eventually
from tests.api.harness.case import Case
from tests.api.harness.lab import SYSTEM, Lab
from tests.api.harness.receiver import Receiver, receiving
from weir.notify.ledger import LEDGER
from weir.runtime.resources import CONFIG_MAPS

pytestmark = pytest.mark.api


@pytest.fixture
def receiver(lab: Lab, tmp_path: Path) -> Iterator[Receiver]:
    with receiving(lab, tmp_path) as made:
        yield made


def test_given_releases_and_kills_then_each_end_and_wait_is_told_once(lab: Lab, receiver: Receiver) -> None:
    environment = receiver.environment
    operator = lab.operator("weir-n0", environment=environment)
    operator.wait_ready()
    case = Case(lab)
    case.serve_first()
    eventually(lambda: receiver.kinds(case.namespace) == ["promoted"], "the first promotion is told")
    lab.traffic.bad[case.namespace, "v2"] = 0.9
    receiver.status = 503
    case.release("v2")
    case.wait_phase("RolledBack")
    operator.kill()
    receiver.status = 200
    lab.free_lease()

    second = lab.operator("weir-n1", environment=environment)
    eventually(lambda: receiver.kinds(case.namespace) == ["promoted", "rolledback"], "the rollback is told by the next")
    waiting = Case(lab)
    waiting.version("v1")
    waiting.create(approvals=[{"before": "Promote", "from": {"group": "sre"}}])
    eventually(lambda: receiver.kinds(waiting.namespace) == ["awaitingapproval"], "the wait for approval is told")
    eventually(lambda: _told(lab) == 3, "all is stored")
    second.kill()
    lab.free_lease()
    # Whoever ran on would serve the namespaces of later tests, too, beside operators that have a Lease of their own.
    with lab.operator("weir-n2", environment=environment) as third:
        third.wait_ready()
        other = Case(lab)
        other.serve_first()
        eventually(lambda: receiver.kinds(other.namespace) == ["promoted"], "the third operator tells")

    assert Counter(receiver.kinds(case.namespace)) == {"promoted": 1, "rolledback": 1}
    assert len({e["id"] for e in receiver.events}) == len(receiver.events)


def _told(lab: Lab) -> int:
    obj = lab.api.get(CONFIG_MAPS, SYSTEM, LEDGER)
    return len(json.loads(obj["data"]["told.json"])["hook"]["done"])
