"""A fake API server, an agent's view of it, and the official client that speaks to the tools."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult, Tool

from tests.unit.mcp.apiserver import NAMESPACE, NOON, FakeApi
from tests.unit.mcp.objects import policy
from weir.cli.cluster import Where
from weir.mcp.caller import Caller
from weir.mcp.server import build
from weir.runtime.client import KubeClient


class HandClock:
    """A clock that moves only when somebody sleeps, or by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(NOON + self.seconds, datetime.UTC)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class Tools:
    """Calls tools with the official client, which connects anew for each call: it must end in the task it began in."""

    def __init__(self, server: Any) -> None:
        """``server``: whatever the official client connects to."""
        self.server = server

    async def listed(self) -> dict[str, Tool]:
        """The tools by name."""
        async with Client(self.server) as client:
            return {tool.name: tool for tool in (await client.list_tools()).tools}

    async def raw(self, tool: str, **arguments: Any) -> CallToolResult:
        """The answer as it came."""
        async with Client(self.server) as client:
            answer = await client.call_tool(tool, arguments)
        assert isinstance(answer, CallToolResult)
        return answer

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer of a tool that succeeds."""
        answer = await self.raw(tool, **arguments)
        assert not answer.is_error, answer.content
        assert answer.structured_content is not None
        return answer.structured_content

    async def refused(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """Why a tool that fails did so."""
        answer = await self.raw(tool, **arguments)
        assert answer.is_error
        assert answer.structured_content is not None
        found: list[dict[str, Any]] = answer.structured_content["denials"]
        return found


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    """An API server with an AgentPolicy, which KUBECONFIG names."""
    fake = FakeApi()
    await fake.start()
    fake.put("agentpolicies", policy())
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    yield fake
    await fake.stop()


@pytest.fixture
def clock() -> HandClock:
    """Time in the test's hands."""
    return HandClock()


@pytest.fixture
async def caller(api: FakeApi, clock: HandClock) -> AsyncIterator[Caller]:
    """The API server as the agent sees it."""
    client = await KubeClient.connect(request_seconds=5)
    async with client:
        yield Caller(client, Where(NAMESPACE), clock)


@pytest.fixture
def tools(caller: Caller) -> Tools:
    """The tools, called in this process."""
    return Tools(build(caller))
