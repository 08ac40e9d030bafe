"""The sign of life that an agent gives by calling tools."""

from __future__ import annotations

import pytest

from tests.unit.mcp.apiserver import NAMESPACE, FakeApi, Refusal
from tests.unit.mcp.conftest import HandClock, Tools
from weir.cli.cluster import Where
from weir.mcp.caller import BEAT, Caller
from weir.mcp.server import build


@pytest.fixture
def tools(caller: Caller, clock: HandClock) -> Tools:
    """The tools of an agent that renews the Lease `tuner`."""
    return Tools(build(Caller(caller.client, Where(NAMESPACE), clock, heartbeat="tuner")))


def renewed(api: FakeApi) -> str:
    """When the Lease was renewed last."""
    [lease] = api.all("leases")
    return str((lease.get("spec") or {}).get("renewTime", ""))


async def test_given_a_lease_when_tools_are_called_then_it_is_renewed_but_not_with_every_call(
    api: FakeApi, tools: Tools, clock: HandClock
) -> None:
    api.put("leases", {"metadata": {"name": "tuner"}, "spec": {"holderIdentity": "tuner"}})
    await tools("list_rollouts")
    assert renewed(api) == "2026-11-22T12:00:00.000000Z"
    clock.seconds = BEAT - 1
    await tools("list_rollouts")
    assert renewed(api) == "2026-11-22T12:00:00.000000Z"
    clock.seconds = BEAT
    await tools("list_rollouts")
    assert renewed(api) == "2026-11-22T12:00:10.000000Z"
    assert api.all("leases")[0]["spec"]["holderIdentity"] == "tuner"


@pytest.mark.parametrize("refusal", [None, Refusal(403, 'User "x" cannot patch resource "leases"', "Forbidden")])
async def test_given_a_lease_that_cannot_be_renewed_when_a_tool_is_called_then_it_works_and_people_are_told(
    api: FakeApi, tools: Tools, caplog: pytest.LogCaptureFixture, refusal: Refusal | None
) -> None:
    if refusal is not None:
        api.refusals["PATCH", "leases"] = refusal
    assert (await tools("list_rollouts"))["total"] == 0
    assert "cannot renew the Lease tuner" in caplog.text


async def test_given_no_heartbeat_when_a_tool_is_called_then_no_lease_is_touched(api: FakeApi, caller: Caller) -> None:
    api.put("leases", {"metadata": {"name": "tuner"}})
    await Tools(build(caller))("list_rollouts")
    assert renewed(api) == ""
