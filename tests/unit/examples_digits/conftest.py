import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.digits.artifact import to_bytes
from tests.unit.examples_digits.samples import brightest_pixel_model

ROOT = Path(__file__).parents[3]


@pytest.fixture
def artifact_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(brightest_pixel_model()))
    return path


@dataclass
class Part:
    """A part of the demo that runs as a process of its own."""

    process: asyncio.subprocess.Process
    port: int
    log: list[dict[str, Any]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def finish(self) -> tuple[int, list[dict[str, Any]]]:
        """Return the exit code and the JSON lines of standard output."""
        out, err = await self.process.communicate()
        self.log += [json.loads(line) for line in err.splitlines()]
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
async def start_part() -> AsyncIterator[Callable[..., Awaitable[Part]]]:
    """Start `python -m examples.digits <command>` on a free loopback port and wait until it listens."""
    started: list[asyncio.subprocess.Process] = []

    async def start(command: str, **environment: object) -> Part:
        local = {"BIND_ADDRESS": "127.0.0.1", "PORT": "0", "CONTROL_ADDRESS": "127.0.0.1", "CONTROL_PORT": "0"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.digits", command),
            cwd=ROOT,
            env=os.environ | local | {name: str(value) for name, value in environment.items()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        assert process.stderr is not None
        log: list[dict[str, Any]] = []
        while not log or log[-1]["event"] != "listening":
            line = await process.stderr.readline()
            assert line, f"{command} ended before it listened: {log}"
            log.append(json.loads(line))
        return Part(process, log[-1]["port"], log)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()
