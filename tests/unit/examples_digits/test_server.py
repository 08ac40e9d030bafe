import contextlib
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from examples.digits.artifact import AcceptedRange, to_bytes
from examples.digits.server import ModelServer, ServerSettings
from examples.digits.telemetry import INFER, INFER_VERSION
from tests.unit.examples_digits.conftest import Part
from tests.unit.examples_digits.samples import brightest_pixel_model, dark_range, infer_body

INFER_PATH = "/v2/models/digits/infer"
Start = Callable[..., Awaitable[Part]]


class Served:
    """A loaded server and a client for it."""

    def __init__(self, server: ModelServer, client: TestClient[Any, Any]) -> None:
        self.server, self.client = server, client

    async def infer(self, body: Any, url: str = INFER_PATH, **headers: str) -> tuple[int, dict[str, Any]]:
        async with self.client.post(url, json=body, headers=headers) as response:
            return response.status, await response.json()

    def value(self, name: str, **labels: str) -> float | None:
        return self.server.metrics.registry.get_sample_value(name, labels)

    def requests(self, code: int, path: str = INFER) -> float | None:
        return self.value("http_requests_total", method="POST", path=path, code=str(code))


def write_strict_model(path: Path, accepted: AcceptedRange) -> None:
    path.write_bytes(to_bytes(brightest_pixel_model(accepted=accepted)))


@asynccontextmanager
async def serve(
    path: Path, chance: float | Callable[[], float] = 0.99, accepted: AcceptedRange | None = None, **settings: Any
) -> AsyncIterator[Served]:
    if accepted:
        write_strict_model(path, accepted)
    draw = chance if callable(chance) else lambda: chance
    server = ModelServer(ServerSettings(model_path=path, **settings), chance=draw)
    await server.load()
    async with TestClient(TestServer(server.create_app())) as client:
        yield Served(server, client)


@pytest.fixture
async def served(artifact_path: Path) -> AsyncIterator[Served]:
    async with serve(artifact_path) as loaded:
        yield loaded


async def test_given_two_rows_when_inferred_then_labels_version_and_id_come_back(served: Served) -> None:
    status, answer = await served.infer(infer_body(3, 7, id="a1"))
    assert (status, answer["model_name"], answer["model_version"], answer["id"]) == (200, "digits", "v1", "a1")
    label, probability = answer["outputs"]
    assert label == {"name": "label", "datatype": "INT64", "shape": [2], "data": [3, 7]}
    assert probability["shape"] == [2, 10]
    assert math.isclose(sum(probability["data"]), 2.0, abs_tol=1e-4)


async def test_given_nested_data_and_one_wanted_output_when_inferred_then_only_that_one_comes_back(
    served: Served,
) -> None:
    body = infer_body(4, outputs=[{"name": "label"}])
    body["inputs"][0]["data"] = [body["inputs"][0]["data"]]
    status, answer = await served.infer(body, url="/v2/models/digits/versions/v1/infer")
    assert status == 200
    assert [output["data"] for output in answer["outputs"]] == [[4]]
    assert served.requests(200, INFER_VERSION) == 1
    assert answer["id"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"shape": [1, 63]}, "inputs[0].shape"),
        ({"shape": [0, 64], "data": []}, "inputs[0].shape"),
        ({"shape": [2, 64]}, "inputs[0].data"),
        ({"data": ["1"] * 64}, "inputs[0].data"),
        ({"data": [True] * 64}, "inputs[0].data"),
        ({"data": [[1], [2, 3]]}, "inputs[0].data"),
        ({"data": [1e300] * 64}, "inputs[0].data"),
        ({"data": [2**80] * 64}, "inputs[0].data"),
        ({"datatype": "BYTES"}, "inputs[0].datatype"),
        ({"name": "image"}, "inputs[0].name"),
    ],
)
async def test_given_a_bad_tensor_when_inferred_then_400_names_the_field(
    served: Served, change: dict[str, Any], field: str
) -> None:
    body = infer_body(1)
    body["inputs"][0] |= change
    status, answer = await served.infer(body)
    assert status == 400
    assert answer["error"].startswith(f"{field}: ")
    assert served.requests(400) == 1
    assert served.value("model_predictions_total", label="1") == 0


async def test_given_a_body_that_is_not_json_when_inferred_then_400(served: Served) -> None:
    async with served.client.post(INFER_PATH, data=b"{not json") as response:
        assert response.status == 400
        assert (await response.json())["error"].startswith("body: ")


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/digits/versions/v2/infer"])
async def test_given_another_model_or_version_when_inferred_then_404_with_a_reason(served: Served, path: str) -> None:
    status, answer = await served.infer(infer_body(1), url=path)
    assert status == 404
    assert "here" in answer["error"]


async def test_given_a_strict_model_when_a_row_is_outside_then_500_is_counted_and_nothing_predicted(
    artifact_path: Path,
) -> None:
    async with serve(artifact_path, accepted=dark_range(10)) as served:
        status, answer = await served.infer(infer_body(1))
        assert status == 500
        assert "outside the training range" in answer["error"]
        assert (await served.infer(infer_body(1, brightness=9)))[0] == 200
        assert (served.requests(500), served.requests(200)) == (1, 1)
        assert served.value("model_predictions_total", label="1") == 1


@pytest.mark.parametrize(("chance", "status"), [(0.49, 500), (0.5, 200)])
async def test_given_a_fail_share_when_inferred_then_that_share_fails(
    artifact_path: Path, chance: float, status: int
) -> None:
    async with serve(artifact_path, chance=chance, fail_share=0.5) as served:
        assert (await served.infer(infer_body(1)))[0] == status


async def test_given_a_fail_share_when_warmed_up_then_nothing_fails(artifact_path: Path) -> None:
    async with serve(artifact_path, chance=0.0, fail_share=1.0) as served:
        assert (await served.infer(infer_body(1), **{"x-weir-warmup": "true"}))[0] == 200
        assert (await served.infer(infer_body(1)))[0] == 500


@pytest.mark.parametrize("burst", [1.0, 5.0])
async def test_given_failures_in_bursts_when_inferred_then_their_share_and_their_mean_run_are_as_set(
    artifact_path: Path, burst: float
) -> None:
    chance = random.Random(11).random
    async with serve(artifact_path, chance=chance, fail_share=0.2, fail_burst=burst) as served:
        failed = [served.server._fails() for _ in range(40_000)]
    begun = sum(now and not before for before, now in pairwise([False, *failed]))
    # A run is prolonged where the next one begins at once, which it does in a share of `begins` of all ends.
    begins = 0.2 / (burst * 0.8 + 0.2)
    assert sum(failed) / len(failed) == pytest.approx(0.2, abs=0.02)
    assert sum(failed) / begun == pytest.approx(burst / (1 - begins), rel=0.1)


async def test_given_a_delay_when_inferred_then_the_histogram_shows_it(artifact_path: Path) -> None:
    async with serve(artifact_path, delay_ms=30) as served:
        await served.infer(infer_body(1))
        total = served.value("http_request_duration_seconds_sum", method="POST", path=INFER)
        assert total is not None
        assert total >= 0.03


async def test_given_warm_up_when_inferred_then_it_is_in_no_evidence(served: Served) -> None:
    status, _ = await served.infer(infer_body(1, id="w"), **{"x-weir-warmup": "true"})
    assert status == 200
    assert served.value("http_warmup_requests_total", method="POST", path=INFER, code="200") == 1
    assert served.requests(200) == 0
    assert served.value("http_request_duration_seconds_count", method="POST", path=INFER) == 0
    assert served.value("model_predictions_total", label="1") == 0
    async with served.client.post("/feedback", json={"id": "w", "label": 1}) as response:
        assert response.status == 404


async def test_given_probes_metadata_and_scrapes_when_answered_then_they_are_not_counted(served: Served) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/digits", "/v2/models/digits/ready"):
        async with served.client.get(path) as response:
            assert response.status == 200
            assert response.headers["x-model-version"] == "v1"
    async with served.client.get("/v2/models/digits/versions/v1") as response:
        assert (await response.json())["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]
    async with served.client.get("/metrics") as response:
        text = await response.text()
    counted = [line for line in text.splitlines() if line.startswith("http_requests_total{")]
    assert len(counted) == 2
    assert all(line.endswith(" 0.0") for line in counted)
    assert 'model_info{digest="sha256:' in text


async def test_given_a_label_that_comes_later_when_posted_then_it_is_joined_once(served: Served) -> None:
    await served.infer(infer_body(3, 7, id="f1"))
    statuses = []
    for label in (3, [3, 8], [3, 8]):
        async with served.client.post("/feedback", json={"id": "f1", "label": label}) as response:
            statuses.append(response.status)
    assert statuses == [400, 200, 404]
    assert served.value("model_feedback_total", correct="true") == 1
    assert served.value("model_feedback_total", correct="false") == 1
    assert served.value("model_feedback_unmatched_total") == 1


async def test_given_a_server_that_has_not_loaded_when_asked_then_it_is_live_but_not_ready(artifact_path: Path) -> None:
    server = ModelServer(ServerSettings(model_path=artifact_path))
    async with TestClient(TestServer(server.create_app())) as client:
        served = Served(server, client)
        assert (await client.get("/v2/health/live")).status == 200
        assert (await client.get("/v2/health/ready")).status == 503
        assert (await served.infer(infer_body(1)))[0] == 503


async def test_given_sigterm_under_traffic_when_draining_then_unready_no_request_fails_and_exit_is_0(
    artifact_path: Path, start_part: Start
) -> None:
    part = await start_part("serve", MODEL_PATH=artifact_path, DRAIN_SECONDS=0.5, DELAY_MS=20)
    statuses: list[int] = []
    unready = False
    async with aiohttp.ClientSession(part.url) as session:
        while True:
            async with session.get("/v2/health/ready") as response:
                if response.status == 200:
                    break
        part.terminate()
        # The listener is closed when the drain is over: then nothing can be sent any more, and nothing failed before.
        with contextlib.suppress(aiohttp.ClientConnectorError):
            while True:
                async with session.post(INFER_PATH, json=infer_body(2)) as response:
                    statuses.append(response.status)
                async with session.get("/v2/health/ready") as response:
                    unready = unready or response.status == 503
    assert (await part.finish())[0] == 0
    assert unready
    assert len(statuses) > 3
    assert set(statuses) == {200}


async def test_given_no_artifact_when_started_then_exit_is_1_and_the_log_says_why(
    tmp_path: Path, start_part: Start
) -> None:
    part = await start_part("serve", MODEL_PATH=tmp_path / "none")
    assert (await part.finish())[0] == 1
    assert any(line["event"] == "not loaded" for line in part.log)
