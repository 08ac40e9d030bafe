"""How noisy stable's pods are, over one whole release: window by window, and before it. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from weir.evidence.checkpoint import Amounts, add
from weir.stats.noise import LAGS, TRUSTED_WINDOWS, Noise, NoiseMeter, assess

FIT_EVERY = 2
"""Windows from one fit to the next; a noise that changes has all evidence recomputed."""
MAX_METERS = 12
"""Latency edges that are metered until it is known which are compared; those beyond count with the assumed noise."""
_LEAST_SEEN = 100
_RARE, _COMMON = 0.002, 0.9
"""Share of stable's requests slower than an edge (0-1), outside of which the edge cannot tell versions apart."""
_MERGED = 3
"""Windows so many times as wide as planned are a gap: what they hold did not happen at the distance it would seem."""


class Meters:
    """Noise meters of one gate, one an edge where a whole latency distribution is compared."""

    def __init__(self) -> None:
        self._meters: dict[float | None, NoiseMeter] = {}
        self._only: tuple[float, ...] = ()
        self._seen: Amounts = ()

    @property
    def edges(self) -> tuple[float | None, ...]:
        """What is metered; None is the gate's bad requests themselves."""
        return tuple(self._meters)

    def keep(self, edges: tuple[float, ...]) -> None:
        """Others than these need not be metered."""
        if edges != self._only:
            self._only = edges
            self._meters = {edge: meter for edge, meter in self._meters.items() if edge is None or edge in edges}

    def skip(self, windows: int) -> None:
        """Nothing is known of so many windows."""
        for _ in range(min(windows, LAGS[-1])):
            for meter in self._meters.values():
                meter.add({})

    def add(self, pods: Mapping[str, Amounts], edges: tuple[float, ...]) -> None:
        """One window: of each pod all events, and the bad ones, or those slower than each of the ``edges``."""
        if edges:
            for amounts in pods.values():
                self._seen = add(self._seen, amounts)
        for place, edge in enumerate(edges, start=1) if edges else [(1, None)]:
            meter = self._meter(edge, place)
            if meter is not None:
                meter.add({pod: (round(a[0]), round(a[place])) for pod, a in pods.items() if len(a) > place})

    def _meter(self, edge: float | None, place: int) -> NoiseMeter | None:
        meter = self._meters.get(edge)
        if meter is None and (edge is None or self._matters(edge, place)) and len(self._meters) < MAX_METERS:
            meter = self._meters[edge] = NoiseMeter()
        return meter

    def _matters(self, edge: float, place: int) -> bool:
        if self._only:
            return edge in self._only
        if len(self._seen) <= place or self._seen[0] < _LEAST_SEEN:
            return False
        return _RARE <= self._seen[place] / self._seen[0] <= _COMMON

    def meter(self, edge: float | None) -> NoiseMeter:
        """The meter of an edge; an empty one where it is not metered."""
        return self._meters.get(edge) or NoiseMeter()


Known = Mapping[float | None, Noise]
"""Noise by edge (seconds); None is the gate's bad requests themselves."""


class GateNoise:
    """What one gate knows of stable's noise, by edge: from the release's windows, and from before it."""

    def __init__(self, width: float, remembered: Known | None = None, reckoned: Known | None = None) -> None:
        """``width`` of a window in seconds.

        ``remembered``: from earlier releases, where there is no ``history``. ``reckoned``: what the release reckoned
        with before a restart; what was measured then is gone, and it must not be judged by less noise than that.
        """
        self.wanted = 3
        """How often the history may still be asked for."""
        self.history: Known = {}
        self.width = width
        self._remembered = remembered or {}
        self._reckoned = reckoned or {}
        self._meters = Meters()
        self._end: float | None = None
        self._count = 0
        self._assessed: dict[float | None, tuple[Noise, Noise | None]] = {}

    def keep(self, edges: tuple[float, ...]) -> None:
        """The gate compares at these edges; others need not be metered any more."""
        if edges:
            self._meters.keep(edges)

    def learn(self, history: Known) -> None:
        """Take what stable's past says."""
        self.history = history
        self._assessed = {}

    def add(self, start: float, end: float, pods: Mapping[str, Amounts], edges: tuple[float, ...] = ()) -> None:
        """Take a window of the stable arm (seconds since the epoch). One that was taken before is not taken again."""
        if self._end is not None and start < self._end - self.width / 2:
            return
        if self._end is not None:
            self._meters.skip(round((start - self._end) / self.width))
        self._end = end
        tiles = max(1, round((end - start) / self.width))
        if tiles <= _MERGED:
            self._meters.add(pods, edges)
            self._count += 1
            self._meters.skip(tiles - 1)
        else:
            self._meters.skip(tiles)
        if self._count % FIT_EVERY == 0:
            self._assessed = {}

    def now(self, edge: float | None = None) -> Noise:
        """The noise to reckon with: what is known from before, widened by what the release shows; else assumed."""
        return self._assess(edge)[0]

    def measured(self, edge: float | None = None) -> Noise | None:
        """What the release's own windows say, once they are enough to be remembered for the next; else None."""
        return self._assess(edge)[1]

    def _assess(self, edge: float | None) -> tuple[Noise, Noise | None]:
        found = self._assessed.get(edge)
        if found is None:
            meter = self._meters.meter(edge)
            now = assess(self._before(edge), meter)
            found = self._assessed[edge] = now, meter.fit() if meter.windows >= TRUSTED_WINDOWS else None
        return found

    def _before(self, edge: float | None) -> Noise | None:
        before, reckoned = self.history.get(edge) or self._remembered.get(edge), self._reckoned.get(edge)
        return before.wider(reckoned) if before is not None and reckoned is not None else before or reckoned


KnownByGate = Mapping[str, Known]
"""Gate → noise by edge."""


class ReleaseMemory:
    """What is known of one release beyond its stages: stable stays what it is, and so does its Prometheus."""

    def __init__(
        self, release: int, remembered: KnownByGate | None = None, reckoned: KnownByGate | None = None
    ) -> None:
        """``release`` is its number; for the others see ``GateNoise``."""
        self.release = release
        self._remembered = remembered or {}
        self._reckoned = reckoned or {}
        self.scrape_interval: float | None = None
        """Seconds between two scrapes of a pod by the Prometheus; None while unknown."""
        self.attempts = 3
        """How often that may still be asked."""
        self.compared: Mapping[str, tuple[float, ...]] = {}
        """Gate → edges that it compares, once they are chosen."""
        self._noise: dict[Hashable, GateNoise] = {}

    def noise(self, gate: str, question: Hashable, width: float) -> GateNoise:
        """Noise of what a gate asks, in windows of ``width`` seconds."""
        key = (gate, question, width)
        if key not in self._noise:
            self._noise[key] = GateNoise(width, self._remembered.get(gate), self._reckoned.get(gate))
        self._noise[key].keep(self.compared.get(gate, ()))
        return self._noise[key]


def measured(
    windows: Iterable[tuple[Mapping[str, Amounts], tuple[float, ...]]],
) -> Known:
    """Noise by edge in past windows that follow each other: (pods, edges) of each."""
    meters = Meters()
    for pods, edges in windows:
        meters.add(pods, edges)
    fits = {edge: meters.meter(edge).fit() for edge in meters.edges}
    return {edge: noise for edge, noise in fits.items() if noise is not None}
