"""Everything that Rollouts say about themselves, in order, as it is written: one watch for a whole cluster."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from testbed.cluster import Cluster

_WATCH = "/apis/weir.dev/v1alpha1/rollouts?watch=1&timeoutSeconds=3600"
_AGAIN = 0.5
"""Seconds between the end of a watch, say with its API server, and the next."""


@dataclass(frozen=True)
class Look:
    """A Rollout as the API server stored it; ``at`` in seconds since the epoch, when we heard of it."""

    at: float
    rollout: dict[str, Any]
    gone: bool = False

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        found: dict[str, Any] = self.rollout.get("status") or {}
        return found

    @property
    def stage(self) -> str:
        """Name of the stage of the running release."""
        return str((self.status.get("stage") or {}).get("name", ""))

    @property
    def weight(self) -> int:
        """Percent of requests for the candidate."""
        return int(self.status.get("weight", 0))

    @property
    def message(self) -> str:
        """What it waits for."""
        return str(self.status.get("message", ""))

    @property
    def current(self) -> bool:
        """Whether the status speaks of the spec as it is."""
        return bool(self.status.get("observedGeneration") == self.rollout["metadata"].get("generation"))

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition; empty where there is none."""
        conditions = self.status.get("conditions") or []
        return next((item for item in conditions if item["type"] == kind), {})

    def true(self, kind: str) -> bool:
        """Whether a condition is True, and said of the spec as it is."""
        return self.current and self.condition(kind).get("status") == "True"

    def __str__(self) -> str:
        """One line for people."""
        status, ready = self.status, self.condition("Ready")
        gates = " ".join(f"{g['name']}={g.get('verdict')}" for g in status.get("gates") or [])
        moment = time.strftime("%H:%M:%S", time.gmtime(self.at)) + f".{int(self.at * 10) % 10}"
        words = [moment, f"release {status.get('release')}", str(status.get("phase")), self.stage, f"{self.weight} %"]
        return " ".join([*words, gates, ready.get("reason", ""), self.message, "GONE" if self.gone else ""])


@dataclass
class Journal:
    """Looks at every Rollout of a cluster, while it is open; survives the API server's absence."""

    cluster: Cluster
    _looks: dict[tuple[str, str], list[Look]] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _process: subprocess.Popen[str] | None = None
    _closed: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Journal:
        self._thread = threading.Thread(target=self._follow, name="journal", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._closed.set()
        if self._process is not None:
            self._process.terminate()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def looks(self, namespace: str, name: str) -> list[Look]:
        """All looks at a Rollout so far."""
        with self._news:
            return list(self._looks.get((namespace, name), ()))

    def wait(
        self,
        namespace: str,
        name: str,
        what: str,
        wanted: Callable[[Look], bool],
        *,
        since: int = 0,
        timeout: float = 90.0,
    ) -> Look:
        """The first look, from number ``since`` on, that is as wanted; waits for it ``timeout`` seconds.

        Raises TimeoutError that tells what was seen instead.
        """
        end = time.monotonic() + timeout
        key, number = (namespace, name), since
        with self._news:
            while True:
                looks = self._looks.get(key, [])
                for look in looks[number:]:
                    if wanted(look):
                        return look
                number = max(number, len(looks))
                left = end - time.monotonic()
                if left <= 0:
                    seen = "\n  ".join(str(look) for look in looks[since:][-15:])
                    raise TimeoutError(f"{namespace}/{name}: {what}: not within {timeout:g} s; seen:\n  {seen}")
                self._news.wait(left)

    def _follow(self) -> None:
        while not self._closed.is_set():
            for event in self._events():
                self._note(event)
            self._closed.wait(_AGAIN)

    def _events(self) -> Iterator[dict[str, Any]]:
        command = [*self.cluster.prefix, "kubectl", "get", "--raw", _WATCH]
        self._process = subprocess.Popen(
            command, env=self.cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        with self._process as process:
            if self._closed.is_set():
                process.terminate()
            for line in process.stdout or ():
                try:
                    yield json.loads(line)
                except ValueError:
                    return  # the API server went in the middle of a line

    def _note(self, event: dict[str, Any]) -> None:
        rollout = event.get("object") or {}
        if rollout.get("kind") != "Rollout":
            return
        meta = rollout["metadata"]
        with self._news:
            looks = self._looks.setdefault((meta["namespace"], meta["name"]), [])
            repeated = looks and looks[-1].rollout["metadata"]["resourceVersion"] == meta["resourceVersion"]
            if not repeated:
                looks.append(Look(time.time(), rollout, gone=event["type"] == "DELETED"))
                self._news.notify_all()
