import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weir.cli.main import app
from weir.workload.fetch import (
    ArtifactForbidden,
    ArtifactInvalid,
    ArtifactNotFound,
    ArtifactUnreachable,
    DigestMismatch,
    fetch,
    folder_digest,
    path_digest,
    safe_path,
)

BODY = b"weights " * 300_000


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Server:
    """A web server with canned answers; answers of one path come in order, the last one again and again."""

    url: str = ""
    host: str = ""
    answers: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut: bool = False

    def put(self, path: str, *answers: tuple[int, bytes]) -> None:
        self.answers[path] = list(answers)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            state.asked.append(self.path)
            queue = state.answers.get(path, [(404, b"")])
            status, body = queue.pop(0) if len(queue) > 1 else queue[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/xml")
            self.send_header("ETag", '"x"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if state.cut:
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            else:
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.host = f"127.0.0.1:{web.server_port}"
    state.url = f"http://{state.host}"
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    web.shutdown()
    web.server_close()
    thread.join()


QUICK = {"FETCH_RETRIES": "2", "FETCH_BACKOFF_SECONDS": "0"}


def s3(server: Server) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    return {**QUICK, **keys, "S3_ENDPOINT": server.url}


def visible(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.name.startswith(".weir-artifact"))


def test_given_a_file_when_fetched_then_it_is_there_readable_and_a_second_fetch_asks_nobody(server, tmp_path) -> None:
    server.put("/m/model.bin", (200, BODY))
    dest = tmp_path / "models"
    assert fetch(f"{server.url}/m/model.bin?x=1", sha(BODY), dest, QUICK) is True
    assert visible(dest) == ["model.bin"]
    assert (dest / "model.bin").read_bytes() == BODY
    assert (dest / "model.bin").stat().st_mode & 0o777 == 0o644
    assert fetch(f"{server.url}/m/model.bin?x=1", sha(BODY), dest, QUICK) is False
    assert len(server.asked) == 1


def test_given_a_file_that_was_changed_on_disk_when_fetched_then_it_is_fetched_again(server, tmp_path) -> None:
    server.put("/model.bin", (200, BODY))
    fetch(f"{server.url}/model.bin", sha(BODY), tmp_path, QUICK)
    (tmp_path / "model.bin").write_bytes(b"rotten")
    assert fetch(f"{server.url}/model.bin", sha(BODY), tmp_path, QUICK) is True
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_given_other_bytes_when_fetched_then_nothing_is_left_behind(server, tmp_path) -> None:
    server.put("/model.bin", (200, b"other"))
    with pytest.raises(DigestMismatch, match=r"ArtifactDigestMismatch: expected sha256:.* got sha256:") as caught:
        fetch(f"{server.url}/model.bin", sha(BODY), tmp_path, QUICK)
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_given_a_leftover_of_a_killed_fetch_when_fetched_then_it_is_swept(server, tmp_path) -> None:
    server.put("/model.bin", (200, BODY))
    (tmp_path / ".weir-fetch-old").mkdir()
    (tmp_path / ".weir-fetch-old" / "half").write_bytes(b"x")
    fetch(f"{server.url}/model.bin", sha(BODY), tmp_path, QUICK)
    assert visible(tmp_path) == ["model.bin"]


def test_given_a_server_that_recovers_when_fetched_then_it_succeeds(server, tmp_path) -> None:
    server.put("/model.bin", (503, b""), (500, b""), (200, BODY))
    assert fetch(f"{server.url}/model.bin", sha(BODY), tmp_path, QUICK) is True
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ArtifactNotFound), (403, ArtifactForbidden), (503, ArtifactUnreachable)],
)
def test_given_a_server_that_refuses_when_fetched_then_the_error_says_which_way(
    server, tmp_path, status, error
) -> None:
    server.put("/model.bin", (status, b""))
    with pytest.raises(error, match=f"HTTP {status}"):
        fetch(f"{server.url}/model.bin", sha(BODY), tmp_path, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_given_a_broken_transfer_when_fetched_then_it_is_unreachable_and_nothing_is_left(server, tmp_path) -> None:
    server.put("/model.bin", (200, BODY))
    server.cut = True
    with pytest.raises(ArtifactUnreachable):
        fetch(f"{server.url}/model.bin", sha(BODY), tmp_path, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_given_nobody_listens_when_fetched_then_the_message_is_stable(tmp_path) -> None:
    with pytest.raises(ArtifactUnreachable) as caught:
        fetch("http://127.0.0.1:9/model.bin", sha(BODY), tmp_path, QUICK)
    assert str(caught.value) == "ArtifactUnreachable: http://127.0.0.1:9/model.bin: Connection refused"


def test_given_an_object_when_fetched_from_s3_then_it_is_there(server, tmp_path) -> None:
    server.put("/models/digits/model.bin", (200, BODY))
    assert fetch("s3://models/digits/model.bin", sha(BODY), tmp_path, s3(server)) is True
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_given_a_prefix_when_fetched_from_s3_then_the_folder_is_there(server, tmp_path) -> None:
    listing = (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>models</Name>'
        "<IsTruncated>false</IsTruncated>"
        + "".join(
            f"<Contents><Key>d/{name}</Key><LastModified>2026-01-01T00:00:00Z</LastModified>"
            f"<ETag>&quot;x&quot;</ETag><Size>1</Size></Contents>"
            for name in ("a.bin", "sub/b.bin")
        )
        + "</ListBucketResult>"
    )
    server.put("/models", (200, listing.encode()))
    server.put("/models/d/a.bin", (200, b"A"))
    server.put("/models/d/sub/b.bin", (200, b"B"))
    wanted = folder_digest({"a.bin": sha(b"A"), "sub/b.bin": sha(b"B")})
    assert fetch("s3://models/d/", wanted, tmp_path, s3(server)) is True
    assert (tmp_path / "sub" / "b.bin").read_bytes() == b"B"


@pytest.mark.parametrize(
    ("code", "status", "error"), [("NoSuchKey", 404, ArtifactNotFound), ("AccessDenied", 403, ArtifactForbidden)]
)
def test_given_s3_refuses_when_fetched_then_the_error_says_which_way(server, tmp_path, code, status, error) -> None:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>"
    server.put("/models/x.bin", (status, body.encode()))
    with pytest.raises(error, match=code):
        fetch("s3://models/x.bin", sha(BODY), tmp_path, s3(server))


def oci(server: Server, layers: list[tuple[str, bytes, bool]], tag: str | None = None) -> tuple[str, str]:
    """Put an OCI artifact on the server; returns its address and digest."""
    described = []
    for title, data, packed in layers:
        notes = {"org.opencontainers.image.title": title}
        if packed:
            notes["io.deis.oras.content.unpack"] = "true"
        described.append({"mediaType": "application/x", "digest": sha(data), "size": len(data), "annotations": notes})
        server.put(f"/v2/models/digits/blobs/{sha(data)}", (200, data))
    manifest = json.dumps({"schemaVersion": 2, "layers": described}).encode()
    for reference in (sha(manifest), *([tag] if tag else [])):
        server.put(f"/v2/models/digits/manifests/{reference}", (200, manifest))
    return f"oci://{server.host}/models/digits" + (f":{tag}" if tag else ""), sha(manifest)


def test_given_an_oci_artifact_when_fetched_then_layers_have_their_titles_and_folders_are_unpacked(
    server, tmp_path
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("tokenizer/vocab.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"vocab"))
    uri, digest = oci(server, [("model.bin", BODY, False), ("tokenizer", packed.getvalue(), True)])
    assert fetch(uri, digest, tmp_path, QUICK) is True
    assert (tmp_path / "model.bin").read_bytes() == BODY
    assert (tmp_path / "tokenizer" / "vocab.txt").read_bytes() == b"vocab"
    asked = len(server.asked)
    assert fetch(uri, digest, tmp_path, QUICK) is False
    assert len(server.asked) == asked


def test_given_a_tag_that_moved_when_fetched_then_no_layer_is_asked_for(server, tmp_path) -> None:
    uri, _ = oci(server, [("model.bin", BODY, False)], tag="v1")
    with pytest.raises(DigestMismatch):
        fetch(uri, sha(b"what was released"), tmp_path, QUICK)
    assert all("/blobs/" not in path for path in server.asked)
    assert list(tmp_path.iterdir()) == []


def test_given_a_rotten_layer_when_fetched_then_nothing_is_left_behind(server, tmp_path) -> None:
    uri, digest = oci(server, [("model.bin", BODY, False)])
    server.put(f"/v2/models/digits/blobs/{sha(BODY)}", (200, BODY[:-1] + b"!"))
    with pytest.raises(DigestMismatch):
        fetch(uri, digest, tmp_path, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_given_a_layer_that_would_escape_when_fetched_then_it_is_refused(server, tmp_path) -> None:
    uri, digest = oci(server, [("../evil", b"x", False)])
    with pytest.raises(ArtifactInvalid, match="unsafe path"):
        fetch(uri, digest, tmp_path / "in", QUICK)
    assert not (tmp_path / "evil").exists()


def test_given_no_such_manifest_when_fetched_then_it_is_not_found(server, tmp_path) -> None:
    with pytest.raises(ArtifactNotFound):
        fetch(f"oci://{server.host}/models/none", sha(b""), tmp_path, QUICK)


def test_given_a_claim_when_fetched_then_the_checked_weights_are_linked(tmp_path) -> None:
    source, dest = tmp_path / "source", tmp_path / "models"
    (source / "d" / "sub").mkdir(parents=True)
    (source / "d" / "a.bin").write_bytes(b"A")
    (source / "d" / "sub" / "b.bin").write_bytes(b"B")
    digest = path_digest(source / "d")
    assert digest == folder_digest({"a.bin": sha(b"A"), "sub/b.bin": sha(b"B")})
    assert fetch("pvc://claim/d", digest, dest, {}, source) is True
    assert (dest / "d" / "sub" / "b.bin").read_bytes() == b"B"
    assert fetch("pvc://claim/d", digest, dest, {}, source) is False
    (source / "d" / "a.bin").write_bytes(b"changed")
    with pytest.raises(DigestMismatch):
        fetch("pvc://claim/d", digest, dest, {}, source)
    with pytest.raises(ArtifactNotFound):
        fetch("pvc://claim/none", digest, dest, {}, source)
    with pytest.raises(ArtifactInvalid):
        fetch("pvc://claim", digest, dest, {}, source)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", ".weir-artifact.json"])
def test_given_an_unsafe_path_when_checked_then_it_is_refused(path: str) -> None:
    with pytest.raises(ArtifactInvalid):
        safe_path(path)


def test_given_an_unknown_scheme_when_fetched_then_it_is_refused(tmp_path) -> None:
    with pytest.raises(ArtifactInvalid, match="scheme"):
        fetch("ftp://x/y", sha(b""), tmp_path, {})


def test_given_a_folder_that_cannot_be_written_when_fetched_then_the_error_says_so(server, tmp_path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArtifactInvalid, match="file"):
        fetch(f"{server.url}/model.bin", sha(b""), tmp_path / "file", QUICK)


def test_given_wrong_bytes_when_run_as_a_command_then_exit_code_and_last_words_say_so(
    server, tmp_path, monkeypatch
) -> None:
    server.put("/model.bin", (200, b"other"))
    log = tmp_path / "termination-log"
    log.touch()
    uri, dest = f"{server.url}/model.bin", str(tmp_path / "m")
    arguments = ["fetch", "--uri", uri, "--digest", sha(BODY), "--dest", dest, "--termination-log", str(log)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3
    assert log.read_text() == f"ArtifactDigestMismatch: expected {sha(BODY)} got {sha(b'other')}"
    server.put("/model.bin", (200, BODY))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (tmp_path / "m" / "model.bin").read_bytes() == BODY
