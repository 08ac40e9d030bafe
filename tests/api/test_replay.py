"""Records survive the real API server: what is replayed from the cluster is what was sealed."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.api.conftest import KIND, Objects, Server
from tests.unit.record.releases import ERRORS, LATENCY, MEAN, OBJECTIVE, PLAIN, released
from weir.cli.main import app

pytestmark = pytest.mark.api


@pytest.mark.parametrize("factor", [1.0, 6.0])
def test_given_a_record_in_a_real_api_server_when_replayed_by_name_then_it_agrees(
    api_server: Server, objects: Objects, factor: float
) -> None:
    record = released(ERRORS, LATENCY, PLAIN, OBJECTIVE, MEAN, factor=factor)
    name = f"demo-{factor:g}-2"
    objects.create(KIND["RolloutRecord"], record.to_dict(), name)
    arguments = ["replay", name, "-n", objects.namespace, "--kubeconfig", str(api_server.kubeconfig)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
