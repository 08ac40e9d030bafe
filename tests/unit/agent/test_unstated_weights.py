"""A ShiftTraffic that does not say which weight it saw: the ledger knows it, the API server does not."""

from __future__ import annotations

import pytest

from tests.unit.agent.ledgerworld import OTHER, World, permits, spec_of


@pytest.mark.parametrize(("weight", "standing"), [(0, "Granted"), (10, "Granted"), (11, "Damped"), (99, "Damped")])
def test_given_a_damped_rollout_when_traffic_is_shifted_then_only_what_is_not_more_than_now_goes_through(
    weight: int, standing: str
) -> None:
    spec = spec_of(permits=permits(shift={"bounds": {}}), loop={"maxRepeats": 9})
    world = World(spec)
    for move in ("go-on", "hold", "go-on", "hold"):
        world.ask(move, by=OTHER)
        world.run()
    assert [entry.reason for entry in world.status.blocked] == ["Damped"]

    shift = world.ask("shift", weight=weight, expect={"release": 7})
    world.look()

    assert world.standing(shift) == standing
