"""The words of the report."""

from __future__ import annotations

HEAD = (
    "# How good the gates' decisions are",
    "",
    "Written by `python -m benchmarks.decisions`; do not edit. Simulated releases, decided by Weir's own code and",
    "by what other tools and textbooks do, side by side. Every figure is followed by its 95 % interval in",
    "brackets (Wilson's for shares, bootstrap for means, order statistics for medians). All cells with all",
    "measures: `decisions/cells.csv`.",
    "",
)


def settings(replicates: int, seed: int) -> str:
    """How it was run."""
    return (
        f"{replicates:,} releases a cell, three times as many where nothing is wrong (half as many with eight metrics, "
        f"a fifth for promotions, a tenth for latency), seed {seed}."
    )


SIMULATED = (
    "## What was simulated",
    "",
    "A service with ten pods serves the given requests a second, 1 % of them bad. The candidate gets 1, 5, 25 and",
    "50 % of the traffic, five minutes each, on one, one, two and five of the ten pods; every 30 seconds a window",
    "of counts arrives. *No harm*: the same rate of bad requests. *+10 %* is harmless by definition (`failAbove:",
    "1.1`), since a new version is never exactly the same. Before the release two hours of the stable pods are",
    "known, unless said otherwise.",
    "",
    "- *independent*: requests know nothing of each other. *moving baseline*: the rate of both versions swings",
    "  between 0.5 and 2 % within 40 minutes. *pods*: each pod's log rate wanders with a standard deviation of",
    "  0.3 and a correlation time of two minutes; *slow pods*: 0.2 and one hour. *bursts*: bad requests come in",
    "  clusters of geometric size with the given mean. *sticky users*: each user sends six requests a minute to",
    "  one pod for about ten minutes, and a fifth of the users have nearly all of the trouble.",
    "- *no history*: nothing is known before the release. *quiet history*: before the release the service had",
    "  none of its noise. *one stable pod*: how pods differ cannot be measured; one candidate pod as well.",
    "- *gaps*: 15 % of the windows are not scraped, half of these appear in the next. *late samples*: a part of",
    "  each pod's counts is scraped a window late. *resets*: pods restart and lose counts.",
    "",
    "The deciders beside Weir, all given the baseline that a user would have to know: Argo Rollouts and Flagger",
    "check once a minute that less than twice the base rate is bad (at most 0 or 3 failures, or 5; NaN skipped,",
    "or failing). Kayenta's Mann–Whitney judges the windows' rates so far, at every window from the tenth on; its",
    "authors advise an equally large baseline and at least 50 points, so that its misses are in part this",
    "set-up's. *z, peeked*: a stratified one-sided z-test at 5 %, at every window; *Bonferroni*: at 5 %/40.",
    "*O'Brien–Fleming*: given the true information of the plan. *oracle*: knows both true rates at every moment,",
    "and its bar is the one that makes 5 % errors in this very world; no method can know that. *Weir*: the",
    "default gate. *strict*: `bar: Strict`.",
    "",
)
FALSE = (
    "The share of releases that are rolled back although nothing is wrong, or the rate is 10 % higher (which Weir",
    "is told to ignore; the others were not, so judge them by *no harm*). One point is one world.",
    "",
)
LOSES = (
    "Cells in which another decider exposes fewer requests than Weir (their intervals do not overlap) *and* keeps",
    "its false rollbacks in that world at 5 % (upper bound) where nothing is wrong. The margin of ten percent is",
    "a part of the reason: the others judge any increase as harm. A threshold at exactly twice the base rate does",
    "well in calm worlds, as long as somebody knows the base rate and it does not move; it is blind below.",
    "",
)
REGRESSIONS = (
    "Each cell: share rolled back within 20 minutes, %; median minutes until then; mean requests that the",
    "candidate got.",
    "",
)
HARD = (
    "The same, where the noise is not what the history says, cannot be measured, or measurements are damaged. With one",
    "stable pod a slow pod and a bad version look alike; Weir assumes noise then, and is slow on purpose: run two.",
    "",
)
DELAYED = (
    "The candidate is fine for 15 minutes, then its rate is 2 or 5 times as high. The others end their ladder at",
    "20 minutes; Weir promotes when it has proof of no harm, within 50 minutes, and what it had earned before",
    "counts.",
    "",
)
EIGHT = (
    "Share rolled back, %; mean requests exposed. Weir rolls back on the mean of the eight e-values. *all ×1.1*",
    "is harmless.",
    "",
)
LATENCY = (
    "Share rolled back, %; mean requests exposed. Everything slower by a factor, or 2 % of the requests ten times",
    "slower. Weir compares the shares above up to four edges of the histogram and tolerates 10 % (the next pair",
    "of edges, where they are close); the median is 100 ms (log-normal, σ 0.5), 50 ms (heavy tail, σ 1), or 20 ms",
    "with a tenth at 400 ms (cache hits). Argo's threshold is 1.2 times the percentile that the dashboard showed.",
    "Native buckets are 9 % apart, the three buckets are 50, 250 and 1,000 ms.",
    "",
)
PROMOTION = (
    "Here the weight follows Weir's own verdicts: a step takes five minutes at least, and ends when the gate",
    "passes for the next weight; after the last the candidate is promoted. One hour is the deadline, then the",
    "release is undecided. The thresholds above promote whatever they did not roll back, after 20 minutes.",
    "",
)
LIMITS = (
    "## What was not simulated, and what is not solved",
    "",
    "- Real traffic. The laws of the noise were chosen by us; each is a caricature. Real services have several at",
    "  once, and a candidate's pods may be noisier than stable's, which no method can tell from harm.",
    "- Sticky users: at 1 % of the traffic the candidate serves few users, so its rate depends on who they are, more",
    "  than stable's pods show. Weir allows for that as far as the noise could be due to users, which costs speed",
    "  where it is due to pods; with fewer, heavier users than here a larger first step is the better remedy.",
    "- The exclusion of warm-up and of the first window after a change of weight: every window counts here, for all.",
    "- Failed pods, broken routing, missing metrics: these are other gates (readiness, sample ratio, NoData).",
    "- Badly chosen thresholds: the threshold deciders know the base rate here.",
    "- The calibration of the default bar is simulation, not proof. `bar: Strict` is a theorem (Ville's inequality)",
    "  for independent requests; with pod noise or bursts it, too, is a model that was checked by this simulation.",
)
