"""Operators that follow one another, each killed after a chosen write of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue
from typing import Protocol, TypeVar

from tests.api.harness.api import eventually
from tests.api.harness.lab import ACCOUNT, SYSTEM, Lab
from tests.api.harness.process import Operator
from tests.api.harness.proxy import Proxy


@dataclass(frozen=True)
class Cut:
    """What became of one attempt: whether the kill came, and the writes until then or until the end."""

    killed: bool
    writes: tuple[tuple[str, str], ...]


class Lineage:
    """Operators of one name, one after the other, which serve one namespace."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.namespace = lab.make_namespace()
        self._lab = lab
        lab.allow_leases(self.namespace)
        self._proxy = Proxy(lab.server.url)
        self._kubeconfig = lab.kubeconfig_for(SYSTEM, ACCOUNT, self._proxy.url)
        self._name = f"weir-{number}"
        self._operator = self._start()

    def _start(self) -> Operator:
        return self._lab.operator(self._name, kubeconfig=self._kubeconfig, namespace=self.namespace)

    def cut(self, k: int, begin: Callable[[], object], finished: Callable[[], bool], what: str) -> Cut:
        """Begins something, kills the operator after its k-th write from then on, and lets the next one finish it.

        With ``k`` 0 nobody is killed.
        """
        killed = threading.Event()
        victim = self._operator

        def kill() -> None:
            victim.process.kill()
            killed.set()

        self._proxy.expect(k, kill)
        begin()
        eventually(lambda: killed.is_set() or finished(), f"{what}: write {k}, or the end", within=60)
        writes = tuple(self._proxy.writes)
        if killed.is_set():
            victim.process.wait()
            self._operator = self._start()
            eventually(finished, f"{what}: the end of what was cut off after write {k} ({writes[-1]})", within=60)
        self._proxy.expect(0, lambda: None)
        return Cut(killed.is_set(), writes)

    def stop(self) -> None:
        """Ends the last operator."""
        self._operator.stop()
        self._proxy.stop()


class Written(Protocol):
    """What an attempt came to, with the writes until its end or its kill."""

    @property
    def writes(self) -> Sequence[object]: ...


Ground = TypeVar("Ground")
Story = TypeVar("Story")
Result = TypeVar("Result", bound=Written)


def each_cut(
    grounds: Sequence[Ground], stories: Mapping[str, Story], run: Callable[[Ground, Story, int], Result]
) -> dict[str, list[Future[Result]]]:
    """By name: each story as it is, and cut off after its first, second, third … write.

    ``run`` tells a story on a ground (say, a Lineage and what belongs to it) and cuts it off after that write, or not
    at all for 0. Every ground serves one story at a time. A story that fails as it is, is not cut.
    """
    free: Queue[Ground] = Queue()
    for ground in grounds:
        free.put(ground)

    def on_a_free_one(story: Story, k: int) -> Result:
        ground = free.get()
        try:
            return run(ground, story, k)
        finally:
            free.put(ground)

    with ThreadPoolExecutor(len(grounds)) as pool:
        found = {name: [pool.submit(on_a_free_one, story, 0)] for name, story in stories.items()}
        for name, story in stories.items():
            whole = found[name][0]
            if whole.exception() is None:
                found[name] += [pool.submit(on_a_free_one, story, k + 1) for k in range(len(whole.result().writes))]
    return found
