import filecmp
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from examples.digits import fingerprint
from examples.digits.artifact import ArtifactError
from examples.digits.load import LoadGenerator, LoadSettings, changed
from examples.digits.profile import INTENSITY, LABEL, describe
from examples.digits.server import ModelServer, ServerSettings
from tests.unit.examples_digits.samples import held_out, infer_body, row
from weir.contract import client
from weir.contract.profile import Profile

INFER_PATH = "/v2/models/digits/infer"


def images(rows: int = 200) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 17, (rows, 64))


def test_given_the_client_when_compared_then_the_example_has_the_same_file() -> None:
    # The image's build context is the example's folder; after a change, copy the file again.
    assert filecmp.cmp(client.__file__, fingerprint.__file__, shallow=False)


def test_given_training_rows_when_described_then_the_operator_reads_the_profile() -> None:
    pixels, labels = images(), [number % 7 for number in range(200)]
    profile = Profile.from_json(json.dumps(describe(pixels, labels)))
    intensity, label = profile.column(INTENSITY), profile.column(LABEL)
    assert intensity is not None
    assert label is not None
    assert len(intensity.edges) == 9
    assert sum(intensity.counts) == 200
    assert min(intensity.counts) > 10
    assert dict(label.top) == {str(digit): labels.count(digit) for digit in range(7)}
    assert (label.other, label.nulls) == (0, 0)


def test_given_few_brightnesses_when_described_then_no_row_is_lost() -> None:
    pixels = np.repeat([[0] * 64, [5] * 64], [150, 50], axis=0)
    found = Profile.from_json(json.dumps(describe(pixels, [1] * 200))).column(INTENSITY)
    assert found is not None
    assert sum(found.counts) == 200
    assert found.counts[0] == 150


async def test_given_a_profile_when_served_then_users_inputs_and_answers_are_counted_and_warm_up_is_not(
    artifact_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(describe(images(), list(range(10)) * 20)))
    server = ModelServer(ServerSettings(model_path=artifact_path, profile_path=path), chance=lambda: 0.99)
    await server.load()

    def value(name: str, **labels: str) -> float | None:
        return server.metrics.registry.get_sample_value(f"weir_feature_value_{name}", labels)

    assert value("top_total", property=LABEL, value="3") == 0
    async with TestClient(TestServer(server.create_app())) as caller:
        for headers in ({}, {"x-weir-warmup": "true"}):
            async with caller.post(INFER_PATH, json=infer_body(3, 3, 8), headers=headers) as response:
                assert response.status == 200
    assert value("bucket", property=INTENSITY, le="+Inf") == 3
    assert value("top_total", property=LABEL, value="3") == 2
    assert value("top_total", property=LABEL, value="8") == 1
    assert value("null_total", property=INTENSITY) == 0


async def test_given_no_profile_when_served_then_nothing_is_counted_by_it(artifact_path: Path, tmp_path: Path) -> None:
    server = ModelServer(ServerSettings(model_path=artifact_path, profile_path=tmp_path / "none"))
    await server.load()
    async with TestClient(TestServer(server.create_app())) as caller, caller.get("/metrics") as response:
        assert "weir_feature_value" not in await response.text()


async def test_given_a_broken_profile_when_loaded_then_the_error_names_the_file(
    artifact_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    path.write_text('{"tables": 5}')
    server = ModelServer(ServerSettings(model_path=artifact_path, profile_path=path))
    with pytest.raises(ArtifactError, match=r"profile\.json: not a profile"):
        await server.load()


def test_given_drifted_inputs_when_changed_then_pixels_stay_in_range() -> None:
    image = row(3, brightness=14)
    assert changed(image, "heldout") == image
    assert changed(image, "brighter") == [16 if pixel == 3 else 4 for pixel in range(64)]
    assert changed(image, "inverted") == [2 if pixel == 3 else 16 for pixel in range(64)]


async def test_given_a_running_load_when_told_then_it_sends_other_inputs() -> None:
    generator = LoadGenerator(LoadSettings(target_url="http://127.0.0.1:9"), held_out())
    async with TestClient(TestServer(generator.create_app())) as control:

        async def post(path: str) -> tuple[int, Any]:
            async with control.post(path) as response:
                return response.status, await response.json() if response.status == 200 else None

        assert await post("/inputs/inverted") == (200, {"inputs": "inverted"})
        assert generator.summary()["inputs"] == "inverted"
        assert (await post("/inputs/upside-down"))[0] == 404
        assert generator.summary()["inputs"] == "inverted"
        assert await post("/inputs/heldout") == (200, {"inputs": "heldout"})
