"""Documents from registries and repositories, over real HTTP on the loopback; and what servers may try."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.repo import MemoryRepo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

from weir.api.datacontract import GitFile, Source
from weir.runtime import fetching
from weir.runtime.sources import (
    MOST_BYTES,
    DigestMismatch,
    SourceError,
    SourceNotAllowed,
    SourceTooLarge,
    SourceUnreachable,
    allows,
    check_digest,
    fetch_document,
)

DOCUMENT = b"apiVersion: v3.2.0\nkind: DataContract\nid: orders\nversion: 1.0.0\n"


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Web:
    """Answers by path: status, body, headers; or a function that writes what it likes."""

    host: str = ""
    answers: dict[str, tuple[int, bytes, dict[str, str]] | Callable[[BaseHTTPRequestHandler], None]] = field(
        default_factory=dict
    )
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def _serve(state: Web) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # What is left unread when the connection closes would reset it.
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.asked.append((self.path, self.headers.get("Authorization")))
            answer = state.answers.get(self.path.partition("?")[0], (404, b"", {}))
            if callable(answer):
                answer(self)
                return
            status, body, headers = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 (the name is the library's)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.host = f"127.0.0.1:{server.server_port}"
    return server


@pytest.fixture
def web() -> Iterator[Callable[[], Web]]:
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start() -> Web:
        state = Web()
        server = _serve(state)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return state

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Git:
    """A repository that is served, and its commits by name."""

    url: str
    commits: dict[str, str]


def _commit(repo: MemoryRepo, files: dict[str, bytes], parents: list[bytes]) -> bytes:
    folder, root = Tree(), Tree()
    for name, data in files.items():
        blob = Blob.from_string(data)
        repo.object_store.add_object(blob)
        (folder if name.startswith("contracts/") else root).add(name.split("/")[-1].encode(), 0o100644, blob.id)
    repo.object_store.add_object(folder)
    root.add(b"contracts", 0o040000, folder.id)
    repo.object_store.add_object(root)
    commit = Commit()
    commit.tree, commit.parents, commit.message = root.id, parents, b"as a test says"
    commit.author = commit.committer = b"ada <ada@example.com>"
    commit.author_time = commit.commit_time = 1767323045
    commit.author_timezone = commit.commit_timezone = 0
    repo.object_store.add_object(commit)
    return bytes(commit.id)


@pytest.fixture(scope="module")
def git() -> Iterator[Git]:
    repo = MemoryRepo()
    first = _commit(repo, {"contracts/orders.yaml": b"old"}, [])
    large = b"x" * (MOST_BYTES + 1)
    head = _commit(repo, {"contracts/orders.yaml": DOCUMENT, "large.yaml": large}, [first])
    tag = Tag()
    tag.name, tag.object, tag.message = b"v1.0.0", (Commit, head), b"one"
    tag.tagger, tag.tag_time, tag.tag_timezone = b"ada <ada@example.com>", 1767323045, 0
    repo.object_store.add_object(tag)
    for name, commit in (("main", head), ("old", first)):
        repo.refs[b"refs/heads/" + name.encode()] = commit
    repo.refs[b"refs/tags/v1.0.0"] = tag.id
    repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
    app = make_wsgi_chain(DictBackend({"/data.git": repo, "/": repo}))
    server = make_server("127.0.0.1", 0, app, server_class=WSGIServer, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Git(f"http://127.0.0.1:{server.server_port}/data.git", {"head": head.decode(), "first": first.decode()})
    server.shutdown()
    server.server_close()
    thread.join()


def from_git(git: Git, path: str = "contracts/orders.yaml", revision: str = "HEAD", data: bytes = DOCUMENT) -> Source:
    # The API takes https only; the tests have no certificate.
    file = GitFile.model_construct(url=git.url, revision=revision, path=path)
    return Source.model_construct(git=file, oci=None, config_map_ref=None, digest=sha(data))


async def ask(source: Source, prefixes: list[str]) -> bytes:
    """The same without a process of its own, which takes a while to start."""
    git = source.git.to_dict() if source.git is not None else None
    return await asyncio.to_thread(fetching.fetch, {"oci": source.oci, "git": git, "prefixes": prefixes})


def from_oci(uri: str, data: bytes = DOCUMENT) -> Source:
    return Source(oci=uri, digest=sha(data))


def push(server: Web, data: bytes = DOCUMENT, files: int = 1, name: str = "data/orders") -> str:
    """Put a document on the registry; returns its address."""
    layer = {"mediaType": "application/yaml", "digest": sha(data), "size": len(data)}
    manifest = json.dumps({"schemaVersion": 2, "layers": [layer] * files}).encode()
    server.answers[f"/v2/{name}/manifests/1.0.0"] = (200, manifest, {})
    server.answers[f"/v2/{name}/blobs/{sha(data)}"] = (200, data, {})
    return f"oci://{server.host}/{name}:1.0.0"


@pytest.mark.parametrize(
    ("prefix", "url", "allowed"),
    [
        ("https://git.example/data", "https://git.example/data/contracts.git", True),
        ("https://git.example/data/", "https://git.example/data/contracts.git", True),
        ("https://git.example/data", "https://git.example/database.git", False),
        ("https://git.example", "https://git.example/any/thing", True),
        ("https://git.example", "https://git.example.evil/any", False),
        ("https://git.example", "https://git.example@evil/any", False),
        ("https://git.example", "https://user:secret@git.example/any", False),
        ("https://git.example", "https://git.example/any?token=secret", False),
        ("https://git.example", "https://git.example/any#there", False),
        ("https://git.example", "http://git.example/any", False),
        ("https://git.example", "https://GIT.example:443/any", True),
        ("https://git.example", "https://git.example:8443/any", False),
        ("https://git.example/data", "https://git.example/data/../secret", False),
        ("https://git.example/data", "https://git.example/data/%2e%2e/secret", False),
        ("https://git.example/data", "https://git.example/data\\..\\secret", False),
        ("oci://registry.example/contracts", "oci://registry.example/contracts/orders:1", True),
        ("oci://registry.example/contracts/orders", "oci://registry.example/contracts/orders:1", True),
        ("oci://registry.example/contracts/orders", "oci://registry.example/contracts/orders-2:1", False),
        ("", "https://git.example/data", False),
        ("https://", "https://git.example/data", False),
    ],
)
def test_given_a_prefix_when_an_address_is_judged_then_only_what_is_under_it_is_allowed(
    prefix: str, url: str, allowed: bool
) -> None:
    assert allows([prefix], url) is allowed


def test_given_no_prefixes_then_nothing_is_allowed() -> None:
    assert not allows([], "https://git.example/data")


async def test_given_an_address_that_is_not_allowed_then_nothing_is_asked_and_no_password_is_told(
    web: Callable[[], Web],
) -> None:
    server = web()
    uri = push(server).replace("oci://", "oci://ada:secret@")

    with pytest.raises(SourceNotAllowed) as refused:
        await fetch_document(from_oci(uri), [f"oci://{server.host}"])

    assert "secret" not in str(refused.value)
    assert refused.value.reason == "SourceNotAllowed"
    assert not server.asked


async def test_given_an_artifact_when_fetched_then_the_document_is_there(web: Callable[[], Web]) -> None:
    server = web()

    assert await fetch_document(from_oci(push(server)), [f"oci://{server.host}/data"]) == DOCUMENT


async def test_given_an_artifact_named_by_its_digest_when_fetched_then_the_document_is_there(
    web: Callable[[], Web],
) -> None:
    server = web()
    tagged = push(server)
    manifest = server.answers["/v2/data/orders/manifests/1.0.0"]
    assert isinstance(manifest, tuple)
    server.answers[f"/v2/data/orders/manifests/{sha(manifest[1])}"] = manifest
    uri = tagged.replace(":1.0.0", f"@{sha(manifest[1])}")

    assert await ask(from_oci(uri), [f"oci://{server.host}/data/orders"]) == DOCUMENT


async def test_given_other_bytes_than_asked_for_then_both_digests_are_told(web: Callable[[], Web]) -> None:
    server = web()
    uri = push(server, b"other")

    with pytest.raises(DigestMismatch) as refused:
        await fetch_document(from_oci(uri), [f"oci://{server.host}"])

    assert sha(b"other") in str(refused.value)
    assert sha(DOCUMENT) in str(refused.value)


def test_given_the_right_bytes_then_the_digest_is_fine() -> None:
    check_digest(DOCUMENT, sha(DOCUMENT))


async def test_given_a_large_document_then_it_is_refused_however_its_size_is_told(web: Callable[[], Web]) -> None:
    server = web()
    uri = push(server, b"x" * (MOST_BYTES + 1))

    with pytest.raises(SourceTooLarge, match="larger than 1 MiB"):
        await ask(from_oci(uri), [f"oci://{server.host}"])


@pytest.mark.parametrize(
    ("status", "said"), [(404, "no such artifact"), (403, "asks for a login"), (500, "no document")]
)
async def test_given_a_registry_that_has_no_document_then_its_answer_is_told(
    web: Callable[[], Web], status: int, said: str
) -> None:
    server = web()
    uri = push(server)
    server.answers["/v2/data/orders/manifests/1.0.0"] = (status, b"", {})

    with pytest.raises(SourceUnreachable, match=said):
        await ask(from_oci(uri), [f"oci://{server.host}"])


async def test_given_an_artifact_of_several_files_then_the_way_out_is_told(web: Callable[[], Web]) -> None:
    server = web()
    uri = push(server, files=2)

    with pytest.raises(SourceUnreachable, match="push the document alone"):
        await ask(from_oci(uri), [f"oci://{server.host}"])


async def test_given_nobody_listens_then_it_is_said(web: Callable[[], Web]) -> None:
    with pytest.raises(SourceUnreachable, match="refused"):
        await ask(from_oci("oci://127.0.0.1:9/data/orders:1"), ["oci://127.0.0.1:9"])


async def test_given_a_registry_that_sends_elsewhere_then_only_allowed_places_are_asked(web: Callable[[], Web]) -> None:
    server, elsewhere = web(), web()
    uri = push(server)
    elsewhere.answers["/store/blob"] = (200, DOCUMENT, {})
    server.answers[f"/v2/data/orders/blobs/{sha(DOCUMENT)}"] = (
        307,
        b"",
        {"Location": f"http://{elsewhere.host}/store/blob?token=secret"},
    )

    with pytest.raises(SourceNotAllowed, match="sends to 127.0.0.1") as refused:
        await ask(from_oci(uri), [f"oci://{server.host}"])
    assert "secret" not in str(refused.value)
    assert not elsewhere.asked

    allowed = [f"oci://{server.host}", f"http://{elsewhere.host}/store"]
    assert await ask(from_oci(uri), allowed) == DOCUMENT


async def test_given_a_registry_that_asks_for_a_token_from_elsewhere_then_it_is_not_asked(
    web: Callable[[], Web],
) -> None:
    server, elsewhere = web(), web()
    uri = push(server)
    challenge = f'Bearer realm="http://{elsewhere.host}/token",service="registry",scope="repository:data/orders:pull"'
    server.answers["/v2/data/orders/manifests/1.0.0"] = (401, b"", {"WWW-Authenticate": challenge})

    with pytest.raises(SourceError):
        await ask(from_oci(uri), [f"oci://{server.host}"])

    assert not elsewhere.asked


async def test_given_a_server_that_trickles_then_time_is_up_and_no_process_is_left(
    web: Callable[[], Web],
) -> None:
    server, done = web(), threading.Event()
    uri = push(server)

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not done.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    server.answers["/v2/data/orders/manifests/1.0.0"] = trickle
    started = time.monotonic()
    try:
        with pytest.raises(SourceUnreachable, match="no document within 3 s"):
            await fetch_document(from_oci(uri), [f"oci://{server.host}"], time_limit=3)
    finally:
        done.set()
    assert time.monotonic() - started < 10


async def test_given_a_repository_when_fetched_in_a_process_then_the_document_is_there(git: Git) -> None:
    assert await fetch_document(from_git(git), [git.url]) == DOCUMENT


@pytest.mark.parametrize("revision", ["HEAD", "main", "v1.0.0"])
async def test_given_a_repository_when_a_revision_is_fetched_then_its_file_is_there(git: Git, revision: str) -> None:
    assert await ask(from_git(git, revision=revision), [git.url]) == DOCUMENT


async def test_given_commits_when_fetched_by_their_digests_then_each_has_its_file(git: Git) -> None:
    assert await ask(from_git(git, revision=git.commits["head"]), [git.url]) == DOCUMENT
    old = from_git(git, revision=git.commits["first"], data=b"old")
    assert await ask(old, [git.url]) == b"old"


@pytest.mark.parametrize(
    ("path", "revision", "said"),
    [
        ("contracts/none.yaml", "HEAD", "HEAD has no file contracts/none.yaml"),
        ("contracts/orders.yaml/deeper", "HEAD", "HEAD has no file contracts/orders.yaml/deeper"),
        ("contracts", "HEAD", "contracts is no file"),
        ("../../etc/passwd", "HEAD", "has no file"),
        ("contracts/orders.yaml", "none", "there is no branch, tag or commit none"),
    ],
)
async def test_given_a_place_that_is_not_there_then_it_is_named(git: Git, path: str, revision: str, said: str) -> None:
    with pytest.raises(SourceUnreachable, match=said):
        await ask(from_git(git, path, revision), [git.url])


async def test_given_a_large_file_in_a_repository_then_it_is_refused(git: Git) -> None:
    with pytest.raises(SourceTooLarge, match="large.yaml is larger than 1 MiB"):
        await ask(from_git(git, "large.yaml"), [git.url])


async def test_given_no_such_repository_then_it_is_said(web: Callable[[], Web]) -> None:
    url = f"http://{web().host}/none.git"

    with pytest.raises(SourceUnreachable, match="there is no such repository"):
        await ask(from_git(Git(url, {})), [url])


async def test_given_a_web_server_that_is_no_git_server_then_its_pages_are_not_read(web: Callable[[], Web]) -> None:
    server = web()
    server.answers["/data.git/info/refs"] = (200, b"<html>", {"Content-Type": "text/html"})

    with pytest.raises(SourceUnreachable, match="does not speak Git's smart protocol"):
        await ask(from_git(Git(f"http://{server.host}/data.git", {})), [f"http://{server.host}"])


async def test_given_a_git_server_that_sends_elsewhere_then_only_allowed_places_are_asked(
    git: Git, web: Callable[[], Web]
) -> None:
    server = web()
    target = f"{git.url}/info/refs?service=git-upload-pack"
    server.answers["/data.git/info/refs"] = (302, b"", {"Location": target})
    moved = from_git(Git(f"http://{server.host}/data.git", {}))

    with pytest.raises(SourceNotAllowed, match="sends to 127.0.0.1"):
        await ask(moved, [f"http://{server.host}"])

    assert await ask(moved, [f"http://{server.host}", git.url]) == DOCUMENT


async def test_given_a_git_server_without_end_then_what_it_sends_is_not_kept(
    web: Callable[[], Web], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = web()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        handler.end_headers()
        handler.wfile.write(b"001e# service=git-upload-pack\n0000")
        line = b"%040x refs/heads/%s\n" % (1, b"x" * 900)
        try:
            while True:
                handler.wfile.write(b"%04x%s" % (len(line) + 4, line) * 64)
        except OSError:
            return

    server.answers["/data.git/info/refs"] = endless

    with pytest.raises(SourceTooLarge, match="more than 16 MiB"):
        await ask(from_git(Git(f"http://{server.host}/data.git", {})), [f"http://{server.host}"])


async def test_given_a_process_that_needs_too_much_memory_then_the_document_is_too_large(
    web: Callable[[], Web],
) -> None:
    # 200 MiB of nulls fit into a fifth of a MiB; the length before them is 28 bits, four of them beside the type.
    size, packer = 200 << 20, zlib.compressobj(9)
    header, rest = bytearray([0xB0 | size & 0x0F]), size >> 4
    while rest:
        header.append(rest & 0x7F | (0x80 if rest >> 7 else 0))
        rest >>= 7
    nulls = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(200)) + packer.flush()
    pack = b"PACK" + (2).to_bytes(4) + (1).to_bytes(4) + bytes(header) + nulls
    pack += hashlib.sha1(pack, usedforsecurity=False).digest()
    commit = b"1" * 40
    server = web()

    def packet(text: bytes) -> bytes:
        return b"%04x%s" % (len(text) + 4, text)

    refs = packet(b"# service=git-upload-pack\n") + b"0000" + packet(commit + b" HEAD\0shallow\n") + b"0000"
    answer = packet(b"shallow " + commit + b"\n") + b"0000" + packet(b"NAK\n") + pack
    media = "application/x-git-upload-pack"
    server.answers["/data.git/info/refs"] = (200, refs, {"Content-Type": f"{media}-advertisement"})
    server.answers["/data.git/git-upload-pack"] = (200, answer, {"Content-Type": f"{media}-result"})

    with pytest.raises(SourceTooLarge, match="cannot be unpacked within the limits of memory"):
        await fetch_document(from_git(Git(f"http://{server.host}/data.git", {})), [f"http://{server.host}"])


async def test_given_a_manifest_that_is_no_json_then_it_cannot_be_read(web: Callable[[], Web]) -> None:
    server = web()
    uri = push(server)
    server.answers["/v2/data/orders/manifests/1.0.0"] = (200, b"{" * 5000, {})

    with pytest.raises(SourceUnreachable):
        await ask(from_oci(uri), [f"oci://{server.host}"])


async def test_given_a_config_map_then_it_is_not_for_this_module() -> None:
    source = Source.model_validate({"configMapRef": {"name": "orders"}, "digest": sha(DOCUMENT)})

    with pytest.raises(ValueError, match="through the API server"):
        await fetch_document(source, [])


async def test_given_any_failure_then_nothing_is_logged(web: Callable[[], Web], caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    server = web()

    with pytest.raises(SourceUnreachable):
        await fetch_document(from_oci(f"oci://{server.host}/data/none:1"), [f"oci://{server.host}"])

    assert not [record for record in caplog.records if record.name != "asyncio"]


def test_given_the_fence_when_asked_for_the_same_host_then_it_is_open() -> None:
    fence = fetching.Fence.around("https://git.example/data.git", ())

    fence.check("https://git.example/data.git/info/refs?service=git-upload-pack")
    with pytest.raises(SourceNotAllowed):
        fence.check("http://git.example/data.git/info/refs")
