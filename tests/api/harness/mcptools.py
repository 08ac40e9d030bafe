"""An agent that reaches the cluster by Weir's tools alone: the official client, and the server with its credentials."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from tests.api.harness.agents import Agents
from tests.api.harness.process import ROOT


@dataclass(frozen=True)
class Toolbox:
    """The tools of an agent; a server of its own for each call, unless one is opened with ``client``."""

    agents: Agents

    def client(self) -> Client:
        """The official client; it starts the server, with the agent's kubeconfig and nothing of ours else."""
        environment = {
            "KUBECONFIG": str(self.agents.tuner.kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
            "PATH": os.environ["PATH"],
        }
        arguments = ["-m", "weir.mcp", "--namespace", self.agents.namespace]
        return Client(StdioServerParameters(command=sys.executable, args=arguments, env=environment))

    async def call(self, tool: str, **arguments: Any) -> CallToolResult:
        """The answer of a tool."""
        async with self.client() as client:
            answer = await client.call_tool(tool, arguments)
        assert isinstance(answer, CallToolResult)
        return answer

    async def told(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer of a tool that succeeds."""
        answer = await self.call(tool, **arguments)
        assert not answer.is_error, answer.content
        assert answer.structured_content is not None
        return answer.structured_content

    async def refused(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """Why a tool that fails did so."""
        answer = await self.call(tool, **arguments)
        assert answer.is_error
        assert answer.structured_content is not None
        found: list[dict[str, Any]] = answer.structured_content["denials"]
        return found

    async def allowed(self, proposal: dict[str, Any]) -> bool:
        """Whether the API server would accept it."""
        return bool((await self.told("simulate_action", proposal=proposal))["allowed"])
