import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip(
    "sklearn", reason="the held-out rows come with scikit-learn (examples/digits/requirements-train.txt)"
)

from examples.digits import __main__ as program
from examples.digits import heldout, retrain, train
from examples.digits.artifact import read_digest, read_model
from tests.unit.examples_digits.conftest import ROOT
from weir.agent.places import filled
from weir.workload.fetch import fetch


@pytest.fixture(scope="module")
def rows() -> heldout.HeldOut:
    return train.read_data().held_out


def test_given_a_camera_that_inverts_when_trained_on_what_it_shows_then_that_is_what_the_model_reads(
    rows: heldout.HeldOut,
) -> None:
    inverted = np.array([retrain.changed(row, "inverted") for row in rows.pixels.tolist()], dtype=np.float32)
    before = retrain.train("old", rows, "heldout")
    after = retrain.train("new", rows, "inverted")

    assert before.accuracy > 0.9
    assert after.accuracy > 0.9
    assert (before.model.predict(inverted).labels == rows.labels).mean() < 0.3
    assert (after.model.predict(inverted).labels == rows.labels).mean() > 0.9


def test_given_the_same_rows_when_trained_twice_then_the_artifacts_are_equal_and_carry_the_version(
    tmp_path: Path, rows: heldout.HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "heldout.safetensors"
    source.write_bytes(heldout.to_bytes(rows))
    monkeypatch.setenv("HELDOUT_PATH", str(source))
    files = [tmp_path / name / "model.safetensors" for name in ("a", "b")]

    assert [retrain.main("tune-7-0", "inverted", file, None) for file in files] == [0, 0]

    assert len({file.read_bytes() for file in files}) == 1
    assert read_model(files[0]).version == "tune-7-0"


def test_given_a_job_when_trained_then_its_annotations_get_the_digest_and_the_accuracy(
    tmp_path: Path, rows: heldout.HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out, told = tmp_path / "heldout.safetensors", tmp_path / "model.safetensors", {}
    source.write_bytes(heldout.to_bytes(rows))
    monkeypatch.setenv("HELDOUT_PATH", str(source))

    def annotate(job: str, notes: dict[str, str]) -> None:
        told[job] = notes

    monkeypatch.setattr(retrain, "annotate", annotate)
    retrain.main("tune-7-0", "heldout", out, "tune-7-0")

    assert told["tune-7-0"]["digest"] == read_digest(out)
    assert float(told["tune-7-0"]["accuracy"]) > 0.9


def test_given_the_sample_when_its_training_has_run_then_its_digest_is_that_of_what_its_address_names(
    tmp_path: Path, rows: heldout.HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = yaml.safe_load_all((ROOT / "manifests/samples/agents/retrain.yaml").read_text())
    [template] = next(d for d in documents if d["kind"] == "AgentPolicy")["spec"]["templates"]
    values: dict[str, Any] = {"parameters": {"inputs": "brighter"}, "request": {"name": "train-7-0"}}
    pod = filled(template["object"], values)["spec"]["template"]["spec"]
    [container], [volume] = pod["containers"], pod["volumes"]
    [mount] = container["volumeMounts"]
    source, notes = tmp_path / "heldout.safetensors", {}
    source.write_bytes(heldout.to_bytes(rows))
    monkeypatch.setenv("HELDOUT_PATH", str(source))
    monkeypatch.setattr(retrain, "annotate", lambda _job, told: notes.update(told))

    words = [word.replace(mount["mountPath"], str(tmp_path / "claim")) for word in container["args"]]
    assert program.main(words) == 0

    made = filled(template["result"]["modelVersion"], {**values, "object": {"metadata": {"annotations": notes}}})
    assert made["artifact.uri"].startswith(f"pvc://{volume['persistentVolumeClaim']['claimName']}/")
    # As pods of the new version get it; where the digest is another one, this raises.
    assert fetch(made["artifact.uri"], made["artifact.digest"], tmp_path / "pod", {}, tmp_path / "claim")
    assert made["evaluations.0.value"] > 0.9


def test_given_a_job_when_annotated_then_only_its_annotations_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("namespace", "space"), ("token", "secret"), ("ca.crt", "")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(retrain, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(retrain.ssl, "create_default_context", lambda cafile: cafile)
    asked: list[Any] = []

    class Answer:
        def __enter__(self) -> "Answer":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def urlopen(request: Any, timeout: float, context: str) -> Answer:
        asked.append((request, context))
        return Answer()

    monkeypatch.setattr(retrain.urllib.request, "urlopen", urlopen)
    retrain.annotate("tune-7-0", {"digest": "sha256:1"})

    (request, trusted), *_ = asked
    assert request.full_url == "https://10.0.0.1:443/apis/batch/v1/namespaces/space/jobs/tune-7-0"
    assert (request.get_method(), trusted) == ("PATCH", str(tmp_path / "ca.crt"))
    assert json.loads(request.data) == {"metadata": {"annotations": {"digest": "sha256:1"}}}
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Content-type"] == "application/merge-patch+json"
