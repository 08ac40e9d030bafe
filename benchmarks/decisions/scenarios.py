"""The worlds and effects of the report."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.decisions.worlds import World

_PODS = World("pods 1000 rps", 1000, pod_sigma=0.3)
_BURSTS = World("bursts of 5, 100 rps", 100, cluster=5)

RATE_WORLDS = (
    World("independent 1 rps", 1),
    World("independent 10 rps", 10),
    World("independent 100 rps", 100),
    World("independent 1000 rps", 1000),
    World("moving baseline 100 rps", 100, moving=True),
    World("pods 100 rps", 100, pod_sigma=0.3),
    _PODS,
    World("slow pods 1000 rps", 1000, pod_sigma=0.2, pod_tau=120),
    _BURSTS,
    World("bursts of 20, 1000 rps", 1000, cluster=20),
    World("sticky users 100 rps", 100, users_rate=3),
)
HARD_WORLDS = (
    replace(_PODS, name="pods 1000 rps, no history", history="none"),
    replace(_BURSTS, name="bursts of 5, 100 rps, no history", history="none"),
    World("independent 100 rps, no history", 100, history="none"),
    replace(_PODS, name="pods 1000 rps, quiet history", history="quiet"),
    replace(_BURSTS, name="bursts of 5, 100 rps, quiet history", history="quiet"),
    World("independent 100 rps, one stable pod", 100, pods=1),
    World("pods 1000 rps, one stable pod", 1000, pod_sigma=0.3, pods=1),
    World("bursts of 5, 100 rps, one stable pod", 100, cluster=5, pods=1),
    World("gaps 100 rps", 100, gaps=0.15),
    World("late samples 100 rps", 100, late=0.2),
    World("resets 100 rps", 100, resets=0.02),
    World("pods and bursts 1000 rps", 1000, pod_sigma=0.3, cluster=5),
    World("errors 20 %, 100 rps", 100, base=0.2),
    World("errors 20 %, pods 100 rps", 100, base=0.2, pod_sigma=0.2),
)
DELAYED_WORLDS = (World("independent 100 rps", 100), _PODS, _BURSTS)
EIGHT_WORLDS = (World("independent 100 rps", 100), World("pods 100 rps", 100, pod_sigma=0.3))
PROMOTION_WORLDS = (
    World("independent 1 rps", 1),
    World("independent 10 rps", 10),
    World("independent 100 rps", 100),
    World("independent 1000 rps", 1000),
    World("pods 100 rps", 100, pod_sigma=0.3),
    _PODS,
    World("slow pods 1000 rps", 1000, pod_sigma=0.2, pod_tau=120),
    _BURSTS,
    World("independent 100 rps, no history", 100, history="none"),
)
