"""The server as a process of its own: over standard input and over HTTP, and when it refuses to start."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.unit.cli.objects import shifting
from tests.unit.mcp.apiserver import FakeApi, Refusal
from tests.unit.mcp.conftest import Tools
from tests.unit.mcp.objects import WINDOW
from weir.cli.failure import CliError
from weir.mcp.__main__ import _address
from weir.mcp.caller import Caller
from weir.mcp.rights import excessive
from weir.mcp.server import listening

ROOT = Path(__file__).parents[3]
SHIFT = {
    "permit": "shift",
    "rollout": "digits",
    "reason": "drift",
    "weight": 20,
    "expect": {"release": 2, "weight": 10},
}
TOKEN = "0123456789abcdef"


def environment() -> dict[str, str]:
    """What the process needs to find Weir and the API server, and nothing of ours else."""
    return {"KUBECONFIG": os.environ["KUBECONFIG"], "PYTHONPATH": str(ROOT / "operator"), "PATH": os.environ["PATH"]}


async def started(*arguments: str) -> asyncio.subprocess.Process:
    """The server, not yet ready."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "weir.mcp",
        *arguments,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def over_http(*arguments: str) -> AsyncIterator[str]:
    """The address of a server that listens."""
    process = await started("--http", "127.0.0.1:0", *arguments)
    assert process.stderr is not None
    try:
        told = ""
        while "listening on " not in told:
            told = (await process.stderr.readline()).decode()
            assert told, "it ended before it listened"
        yield told.rpartition(" ")[2].strip()
        process.terminate()
        assert await process.wait() in (0, -15)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(*arguments: str) -> tuple[int, str]:
    """Exit code and words of a server that does not stay."""
    process = await started(*arguments)
    output, errors = await process.communicate()
    assert output == b""
    assert process.returncode is not None
    return process.returncode, errors.decode()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_given_standard_input_when_the_official_client_starts_the_server_then_its_tools_work(
    api: FakeApi, mode: str
) -> None:
    api.put("rollouts", shifting())
    server = StdioServerParameters(command=sys.executable, args=["-m", "weir.mcp"], env=environment())
    async with Client(server, mode=mode) as client:
        assert client.server_info is not None
        assert client.server_info.name == "weir"
        listed = await client.call_tool("list_rollouts", {})
        proposed = await client.call_tool("propose_action", {"proposal": SHIFT})
    assert listed.structured_content is not None
    assert listed.structured_content["rollouts"][0]["name"] == "digits"
    assert proposed.structured_content is not None
    assert proposed.structured_content["name"] == f"shift-{WINDOW}-0"
    assert len(api.all("actionrequests")) == 1


async def test_given_http_when_the_official_client_connects_then_its_tools_work(api: FakeApi) -> None:
    api.put("rollouts", shifting())
    async with over_http() as url:
        tools = Tools(url)
        assert len(await tools.listed()) == 9
        assert (await tools("get_rollout", name="digits"))["expect"]["release"] == 2
        assert (await tools("propose_action", proposal=SHIFT))["name"] == f"shift-{WINDOW}-0"


async def test_given_a_token_file_when_clients_connect_then_only_those_with_the_token_are_served(
    api: FakeApi, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    async with over_http("--token-file", str(file)) as url, httpx2.AsyncClient() as plain:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            answer = await plain.post(url, json={}, headers=given)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        plain.headers["Authorization"] = f"Bearer {TOKEN}"
        async with Client(streamable_http_client(url, http_client=plain)) as client:
            assert len((await client.list_tools()).tools) == 9


async def test_given_a_page_in_a_browser_when_it_calls_the_server_by_another_name_then_it_is_refused(
    api: FakeApi,
) -> None:
    async with over_http() as url, httpx2.AsyncClient() as plain:
        rebound = await plain.post(url, json={}, headers={"Host": "evil.example"})
        foreign = await plain.post(url, json={}, headers={"Origin": "https://evil.example"})
    assert rebound.status_code == 421
    assert foreign.status_code == 403


async def test_given_credentials_that_may_too_much_when_the_server_starts_then_it_refuses_and_names_the_rights(
    api: FakeApi,
) -> None:
    api.rights = {"approve rollouts", "delete actionrequests", "update validatingadmissionpolicies"}
    code, told = await ended()
    assert code == 1
    for right in ("approve rollouts.weir.dev", "delete actionrequests.weir.dev", "--allow-broad-rights"):
        assert right in told


@pytest.mark.parametrize(
    "right",
    [
        "release rollouts",
        "promote rollouts",
        "retry rollouts",
        "resume rollouts",
        "skip rollouts",
        "shifttraffic rollouts",
        "delete actionrequests",
        "deletecollection actionrequests",
    ],
)
async def test_given_a_right_to_act_without_a_permit_or_to_get_budget_back_when_it_is_looked_for_then_it_is_found(
    api: FakeApi, caller: Caller, right: str
) -> None:
    api.rights = {right, "get rollouts", "create actionrequests"}
    assert [str(found) for found in await excessive(caller.client, "team")] == [f"{right}.weir.dev"]


async def test_given_credentials_that_may_too_much_when_that_is_allowed_then_it_warns_and_serves(api: FakeApi) -> None:
    api.rights = {"approve rollouts"}
    async with over_http("--allow-broad-rights") as url:
        assert len(await Tools(url).listed()) == 9


async def test_given_an_api_server_that_does_not_accept_us_when_the_server_starts_then_it_says_so(api: FakeApi) -> None:
    api.refusals["POST", "selfsubjectreviews"] = Refusal(401, "who are you", "Unauthorized")
    code, told = await ended()
    assert code == 2
    assert "does not accept your credentials" in told


@pytest.mark.parametrize("content", ["", "short", "0123456789abcdef\n0123456789abcdef", "0123456789abcdé\u20ac"])
async def test_given_a_token_that_is_none_when_the_server_starts_then_it_refuses(
    api: FakeApi, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    code, told = await ended("--http", "127.0.0.1:0", "--token-file", str(file))
    assert code == 2
    assert "--token-file" in told


async def test_given_a_token_without_http_when_the_server_starts_then_it_refuses(api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    code, told = await ended("--token-file", str(file))
    assert code == 2
    assert "give --http" in told


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "127.0.0.2", "::", "example.com"])
def test_given_an_address_that_others_reach_or_no_client_can_use_when_it_is_listened_on_then_it_is_refused(
    host: str,
) -> None:
    with pytest.raises(CliError, match=r"is not 127\.0\.0\.1, localhost or ::1"):
        listening(host, 0)


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1")])
def test_given_a_loopback_address_when_it_is_listened_on_then_it_works(host: str, address: str) -> None:
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with listening(host, 0) as bound:
        assert bound.getsockname()[0] == address


def test_given_a_port_that_is_taken_when_it_is_listened_on_then_it_is_refused() -> None:
    with listening("127.0.0.1", 0) as bound, pytest.raises(CliError, match="cannot listen"):
        listening("127.0.0.1", bound.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "found"),
    [("127.0.0.1:8931", ("127.0.0.1", 8931)), ("[::1]:80", ("::1", 80)), ("127.0.0.1:0", ("127.0.0.1", 0))],
)
def test_given_an_address_when_it_is_read_then_host_and_port_are_told_apart(text: str, found: tuple[str, int]) -> None:
    assert _address(text) == found


@pytest.mark.parametrize("text", ["8931", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"])
def test_given_no_address_when_it_is_read_then_it_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="--http"):
        _address(text)
