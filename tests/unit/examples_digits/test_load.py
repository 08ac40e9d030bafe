from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from examples.digits import heldout
from examples.digits.artifact import to_bytes
from examples.digits.load import LoadGenerator, LoadSettings
from examples.digits.tally import Outcome, Tally
from tests.unit.examples_digits.conftest import Part
from tests.unit.examples_digits.samples import brightest_pixel_model, held_out

Start = Callable[..., Awaitable[Part]]


@pytest.fixture
def rows_path(tmp_path: Path) -> Path:
    (tmp_path / "rows").mkdir()
    path = tmp_path / "rows" / "heldout.safetensors"
    path.write_bytes(heldout.to_bytes(held_out()))
    return path


async def test_given_a_good_server_when_loaded_then_all_is_ok_and_labels_reach_the_pod(
    artifact_path: Path, rows_path: Path, start_part: Start
) -> None:
    server = await start_part("serve", MODEL_PATH=artifact_path)
    setup = {"RATE": 50, "DURATION_SECONDS": 1.5, "FEEDBACK_SHARE": 1, "FEEDBACK_DELAY_SECONDS": 0}
    load = await start_part("load", TARGET_URL=server.url, HELDOUT_PATH=rows_path, **setup)
    code, lines = await load.finish()
    summary = lines[-1]["summary"]
    assert code == 0
    assert 60 <= summary["sent"] == summary["ok"] <= 76
    assert summary["by_version"] == {"v1": {"ok": summary["ok"], "failed": 0, "wrong": 0}}
    assert sum(line["ok"] for line in lines[:-1]) == summary["ok"]
    assert summary["feedback"]["accepted"] > 0
    assert summary["feedback"]["failed"] == 0


async def test_given_bursts_when_loaded_then_the_rate_is_kept(
    artifact_path: Path, rows_path: Path, start_part: Start
) -> None:
    server = await start_part("serve", MODEL_PATH=artifact_path)
    setup = {"RATE": 100, "BURST": 5, "DURATION_SECONDS": 2, "SEED": 3}
    load = await start_part("load", TARGET_URL=server.url, HELDOUT_PATH=rows_path, **setup)
    _, lines = await load.finish()
    summary = lines[-1]["summary"]
    assert 190 <= summary["sent"] == summary["ok"] <= 230


def test_given_a_mean_burst_when_drawn_then_the_sizes_have_that_mean() -> None:
    settings = LoadSettings(target_url="http://127.0.0.1:9", burst=5)
    generator = LoadGenerator(settings, held_out())
    drawn = [generator._burst() for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(5, rel=0.05)
    assert min(drawn) == 1


async def test_given_a_failing_server_when_loaded_then_each_failure_is_visible_and_reset_starts_anew(
    artifact_path: Path, rows_path: Path, start_part: Start
) -> None:
    server = await start_part("serve", MODEL_PATH=artifact_path, FAIL_SHARE=1)
    load = await start_part("load", TARGET_URL=server.url, HELDOUT_PATH=rows_path, RATE=50)
    async with aiohttp.ClientSession(load.url) as session:
        before: dict[str, Any] = {"failed": 0}
        while before["failed"] < 5:
            before = await (await session.get("/summary")).json()
        metrics = await (await session.get("/metrics")).text()
        assert (await session.post("/reset")).status == 200
        after = await (await session.get("/summary")).json()
    assert before["ok"] == 0
    assert before["errors"] == {"http_500": before["failed"]}
    assert before["failures"][0]["version"] == "v1"
    assert 'load_requests_total{status="http_500",version="v1"}' in metrics
    assert after["failed"] < before["failed"]
    load.terminate()
    assert (await load.finish())[0] == 0


async def test_given_nobody_listens_when_loaded_then_the_reason_is_the_exception(
    rows_path: Path, start_part: Start
) -> None:
    setup = {"RATE": 20, "DURATION_SECONDS": 0.5}
    load = await start_part("load", TARGET_URL="http://127.0.0.1:9", HELDOUT_PATH=rows_path, **setup)
    _, lines = await load.finish()
    summary = lines[-1]["summary"]
    assert summary["ok"] == 0
    assert summary["errors"] == {"ClientConnectorError": summary["sent"]}
    assert list(summary["by_version"]) == ["none"]


async def test_given_a_slow_server_when_loaded_then_the_rate_holds_and_timeouts_are_failures(
    artifact_path: Path, rows_path: Path, start_part: Start
) -> None:
    server = await start_part("serve", MODEL_PATH=artifact_path, DELAY_MS=5000, DRAIN_SECONDS=0)
    setup = {"RATE": 40, "DURATION_SECONDS": 1, "TIMEOUT_SECONDS": 0.3, "MAX_IN_FLIGHT": 5}
    load = await start_part("load", TARGET_URL=server.url, HELDOUT_PATH=rows_path, **setup)
    _, lines = await load.finish()
    summary = lines[-1]["summary"]
    assert summary["sent"] >= 30
    assert summary["failed"] == summary["sent"]
    assert summary["errors"]["client_saturated"] > summary["errors"].get("ServerTimeoutError", 0) >= 0
    assert set(summary["errors"]) - {"client_saturated"} <= {"TimeoutError", "ServerTimeoutError"}


async def test_given_artifacts_when_fetched_from_the_store_then_the_bytes_are_right_and_nothing_else_is_given(
    artifact_path: Path, start_part: Start
) -> None:
    store = await start_part("store", STORE_PATH=artifact_path.parent)
    async with aiohttp.ClientSession(store.url) as session:
        async with session.get(f"/models/{artifact_path.name}") as response:
            assert await response.read() == to_bytes(brightest_pixel_model())
        assert (await session.get("/models/")).status == 403
        assert (await session.get("/models/none")).status == 404
        assert (await session.get("/models/%2e%2e/%2e%2e/etc/passwd")).status in {403, 404}
    store.terminate()
    assert (await store.finish())[0] == 0


def test_given_outcomes_when_tallied_then_sums_and_quantiles_are_right() -> None:
    tally = Tally()
    for number in range(1, 101):
        tally.add(Outcome(0.0, str(number), "v1", 200, number / 1000, wrong=number > 90))
    tally.add(Outcome(0.0, "x", "v2", 503, None, reason="http_503"))
    described = tally.describe()
    assert described["by_version"] == {
        "v1": {"ok": 100, "failed": 0, "wrong": 10},
        "v2": {"ok": 0, "failed": 1, "wrong": 0},
    }
    assert (described["p50_ms"], described["p95_ms"]) == (50.0, 95.0)
    assert described["errors"] == {"http_503": 1}
    assert tally.failures[0]["id"] == "x"
    assert Tally().quantile_ms(0.5) is None
