"""An agent let loose on an API server, and people who must get through at all times."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.api.harness.api import Api, Failure
from tests.api.harness.hostile import Attack, Scene, Shot, breach, pleading, unhealthy
from tests.api.harness.lab import Lab
from tests.api.harness.promises import beyond, limits, spent
from weir.runtime.resources import ACTION_REQUESTS, KubeObject

_AT_ONCE = 4


@dataclass
class Siege:
    """An agent's tries, and what came of them."""

    lab: Lab
    scene: Scene
    kubeconfig: Path
    shots: list[Shot] = field(default_factory=list)
    broken: list[tuple[str, Shot]] = field(default_factory=list)
    """What must not have happened, and how it did."""
    _local: threading.local = field(default_factory=threading.local)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __enter__(self) -> Siege:
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def volley(self, attacks: Sequence[Attack]) -> None:
        """Tries all of them, several at once; nothing more once one was let through that must not have been."""
        if self.broken:
            return
        fired = list(self._pool.map(self._fire, attacks))
        self.shots += fired
        others = self.others()
        for shot in fired:
            text = breach(shot, self.scene, others) or unhealthy(shot) or self._unfair(shot)
            if text:
                self.broken.append((text, shot))

    def _unfair(self, shot: Shot) -> str:
        """Why a request that the policy allows was refused; 429 only puts it off."""
        if not shot.attack.fair or shot.through or shot.status in (409, 429):
            return ""
        # Where a window ends just then, the name may be that of the one before.
        return "" if time.time() % 600 < 10 else f"the policy allows it: {shot.message}"

    def _fire(self, attack: Attack) -> Shot:
        if not hasattr(self._local, "api"):
            self._local.api = Api(self.kubeconfig)
        return attack.fire(self._local.api, time.time())

    def requests(self) -> list[KubeObject]:
        """All ActionRequests of the agent that there are."""
        return [r for r in self._all() if r["spec"].get("requester") == self.scene.user]

    def others(self) -> set[str]:
        """Names of everybody else's."""
        return {r["metadata"]["name"] for r in self._all() if r["spec"].get("requester") != self.scene.user}

    def _all(self) -> list[KubeObject]:
        return self.lab.api.list(ACTION_REQUESTS, self.scene.namespace)

    def flood(self, count: int) -> None:
        """So many more requests that the policy allows, under its permit without a budget."""
        pleas = [pleading(self.scene, next(self._numbers)) for _ in range(count)]
        fired = list(self._pool.map(self._fire, pleas))
        self.shots += fired
        assert all(shot.through for shot in fired), next(shot.message for shot in fired if not shot.through)

    def check(self) -> None:
        """What must be true of everything that was answered and is stored."""
        assert not self.broken, self.broken[:3]
        stored, others = self.requests(), self.others()
        broken = [(r["metadata"]["name"], beyond({**r, "status": {}}, self.scene.user, others)) for r in stored]
        assert not [pair for pair in broken if pair[1]]
        most = limits()
        over = {key: n for key, n in spent(stored).items() if n > most[key[0]]}
        assert not over
        written = [e for e in self.lab.audit(self.scene.user) if e["verb"] in _WRITES and _done(e)]
        other = [(e["verb"], e["objectRef"]) for e in written if not _asks(e)]
        assert not other, "the audit log has other writes of the agent"

    def told(self) -> str:
        """What was tried, in numbers."""
        by_status = Counter(shot.status for shot in self.shots)
        by_kind = Counter(shot.attack.what for shot in self.shots)
        admitted = Counter(r["spec"].get("permit", r["spec"]["action"]) for r in self.requests())
        return f"{len(self.shots)} tries {dict(by_kind)}, answers {dict(by_status)}, stored {dict(admitted)}"


_WRITES = {"create", "update", "patch", "delete"}
"""Deleting a collection of nothing is answered well; that nothing is missing is for tests to compare."""


def _done(entry: Mapping[str, Any]) -> bool:
    return 200 <= entry.get("responseStatus", {}).get("code", 0) < 300


def _asks(entry: Mapping[str, Any]) -> bool:
    about = entry["objectRef"]
    creates = entry["verb"] == "create" or (entry["verb"] == "patch" and entry["responseStatus"]["code"] == 201)
    return creates and about["resource"] == ACTION_REQUESTS.plural and "subresource" not in about


@dataclass
class People:
    """Somebody who, for as long as its ``with`` block lasts, does the same again and again and looks at the clock."""

    act: Callable[[], float]
    every: float = 0.2
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> People:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.seconds.append(self.act())
            except (Failure, AssertionError) as failure:
                self.failures.append(str(failure))
            self._ended.wait(self.every)

    def told(self) -> str:
        """Their waits, in numbers."""
        return (
            f"{len(self.seconds)} times, median {statistics.median(self.seconds):.3f} s, most {max(self.seconds):.3f} s"
        )
