"""The program as a process: its names, its start, its end."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.apiserver import FakeApi
from tests.unit.cli.objects import rolled_back, shifting

ROOT = Path(__file__).parents[3]
HEAVY = (
    "kubernetes",
    "aiohttp",
    "pydantic",
    "kopf",
    "prometheus_client",
    "opentelemetry",
    "requests",
    "apprise",
    "duckdb",
    "ibis",
    "pyarrow",
)


def environment(**more: str) -> dict[str, str]:
    """This process's environment now, with a terminal's size."""
    ours = {"PYTHONPATH": str(ROOT / "operator"), "TERM": "xterm-256color", "COLUMNS": "100"}
    return {**os.environ, **ours, **more}


def as_program(name: str, *arguments: str) -> list[str]:
    """A command line that runs as the program of that name."""
    code = f"import sys; sys.argv = ['/usr/bin/{name}', *sys.argv[1:]]; from weir.cli.main import main; main()"
    return [sys.executable, "-c", code, *arguments]


def outcome(argv: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """What a process said."""
    return subprocess.run(argv, env=environment(**more), capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("name", "usage"), [("weir", "Usage: weir "), ("kubectl-weir", "Usage: kubectl weir ")])
def test_given_a_name_when_the_program_runs_without_arguments_then_the_usage_says_it(name: str, usage: str) -> None:
    done = outcome(as_program(name))
    assert usage in done.stdout + done.stderr
    for panel in ("Look", "Act", "Check"):
        assert panel in done.stdout + done.stderr


@pytest.mark.parametrize("hidden", ["operator", "fetch"])
def test_given_commands_of_the_image_when_help_is_read_then_they_are_hidden_but_there(hidden: str) -> None:
    assert f" {hidden} " not in outcome(as_program("weir", "--help")).stdout
    assert outcome(as_program("weir", hidden, "--help")).returncode == 0


def test_given_help_when_it_is_printed_then_nothing_heavy_was_imported() -> None:
    code = (
        "import sys; sys.argv = ['weir', '--help']\n"
        "from weir.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert outcome([sys.executable, "-c", code]).stdout.splitlines()[-1] == "[]"


def on_terminal(argv: list[str], **more: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process on a terminal of its own, and the other end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more), start_new_session=True
    )
    os.close(theirs)
    return process, ours


def read_until(terminal: int, wanted: bytes, within: float = 30.0) -> bytes:
    """What the terminal shows until that appears in it; empty ``wanted`` reads to the end."""
    seen, ends = b"", time.monotonic() + within
    while not wanted or wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, ends - time.monotonic()))
        assert ready, f"not within {within} s: {wanted!r} in {seen!r}"
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            chunk = b""
        if not chunk:
            assert not wanted, f"ended without {wanted!r}: {seen!r}"
            break
        seen += chunk
    return seen


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that are started take Ctrl-C, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_given_a_live_view_when_interrupted_then_the_cursor_is_back_and_nothing_else_is_said(
    api: FakeApi, interruptible: None
) -> None:
    api.put("rollouts", shifting())
    process, terminal = on_terminal(as_program("kubectl-weir", "status", "--watch"))
    read_until(terminal, b"digits")
    process.send_signal(signal.SIGINT)
    rest = read_until(terminal, b"")
    assert process.wait(20) == 130
    assert rest.rstrip().endswith(b"\x1b[?25h")
    assert b"Traceback" not in rest


def test_given_a_live_view_when_the_rollout_changes_then_it_is_redrawn(api: FakeApi) -> None:
    api.put("rollouts", shifting())
    process, terminal = on_terminal(as_program("kubectl-weir", "status", "--watch", "--wait", "--timeout", "30s"))
    read_until(terminal, b"digits")
    api.put("rollouts", rolled_back())
    assert b"v2 failed: errors" in read_until(terminal, b"")
    assert process.wait(20) == 1


@pytest.mark.parametrize(("arguments", "more"), [((), {"NO_COLOR": "1"}), (("--no-color",), {})])
def test_given_no_colour_when_printed_on_a_terminal_then_there_is_none(
    api: FakeApi, arguments: tuple[str, ...], more: dict[str, str]
) -> None:
    api.put("rollouts", shifting())
    process, terminal = on_terminal(as_program("kubectl-weir", "status", *arguments), **more)
    seen = read_until(terminal, b"")
    assert process.wait(20) == 0
    assert b"digits" in seen
    assert b"\x1b[3" not in seen


def test_given_a_reader_that_goes_away_when_watched_in_a_pipe_then_it_ends_quietly(api: FakeApi) -> None:
    api.put("rollouts", shifting())
    process = subprocess.Popen(
        as_program("weir", "status", "--watch"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"Traffic(10)" in process.stdout.readline()
    process.stdout.close()
    api.put("rollouts", shifting(stage="Traffic(25)", weight=25))
    process.wait(20)
    assert b"Traceback" not in process.stderr.read()
