"""``docs/decisions.md`` and what it shows: tables, pictures and every cell as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan

from benchmarks.decisions import plot, text
from benchmarks.decisions.measures import Estimate
from benchmarks.decisions.promotion import Promotion
from benchmarks.decisions.study import OURS, STRICT, Row

LIMIT = 0.05
TABLED = ("rates", "hard")
NULLS = ("1", "1.1")
DETECTED = ("1.2", "1.5", "2", "5")


@dataclass(frozen=True)
class Results:
    """Everything that was measured."""

    rows: Sequence[Row]
    promotions: Sequence[Promotion]
    replicates: int
    seed: int

    def find(self, family: str, world: str, harm: str, decider: str = OURS) -> Row | None:
        """A cell, if it was simulated."""
        return next(
            (r for r in self.rows if (r.family, r.world, r.harm, r.decider) == (family, world, harm, decider)), None
        )

    def null(self, decider: str) -> list[Row]:
        """The cells of a decider in which nothing, or at most ten percent, is wrong."""
        harmless = {"rates": NULLS, "hard": NULLS, "eight": ("none", "all ×1.1"), "latency": ("×1",)}
        return [r for r in self.rows if r.decider == decider and r.harm in harmless.get(r.family, ())]

    def worlds(self, family: str) -> list[str]:
        """In the order of simulation."""
        return list(dict.fromkeys(r.world for r in self.rows if r.family == family))

    def deciders(self, family: str) -> list[str]:
        """In the order of simulation."""
        return list(dict.fromkeys(r.decider for r in self.rows if r.family == family))


def percent(estimate: Estimate) -> str:
    """A share with its interval, in percent."""
    return f"{estimate.value * 100:.1f} ({estimate.low * 100:.1f}–{estimate.high * 100:.1f})"


def number(estimate: Estimate) -> str:
    """A value with its interval."""
    if isnan(estimate.value):
        return "–"
    return f"{_short(estimate.value)} ({_short(estimate.low)}–{_short(estimate.high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows), ""]


@dataclass(frozen=True)
class Promise:
    """One line of the acceptance table."""

    name: str
    wanted: str
    found: str
    kept: bool | None
    """None where it was not simulated."""


def promises(results: Results) -> list[Promise]:
    """What the default gate has to keep."""
    null = results.null(OURS)
    over = [r for r in null if r.measures.failed.high > LIMIT]
    worst = max(null, key=lambda r: r.measures.failed.high, default=None)
    found = [
        Promise(
            "false rollbacks, every cell without harm or with +10 %",
            "upper bound ≤ 5 %",
            f"{len(null) - len(over)} of {len(null)} cells; worst {percent(worst.measures.failed)} in {worst.world}, "
            f"{_harm(worst.harm)}"
            if worst
            else "–",
            not over if worst else None,
        )
    ]
    wanted: list[tuple[str, str, str, Callable[[Row], bool], Callable[[Row], str]]] = [
        ("independent 100 rps", "requests exposed", "≤ 1,950", lambda r: r.measures.exposed.value <= 1950, _exposed),
        ("pods 1000 rps", "requests exposed", "≤ 27,000", lambda r: r.measures.exposed.value <= 27_000, _exposed),
        (
            "bursts of 5, 100 rps",
            "rolled back in 20 minutes",
            "≥ 65 %",
            lambda r: r.measures.failed.value >= 0.65,
            _failed,
        ),
    ]
    for world, what, limit, kept, shown in wanted:
        row = results.find("rates", world, "2")
        found.append(
            Promise(f"1 → 2 %, {world}: {what}", limit, shown(row) if row else "–", kept(row) if row else None)
        )
    beyond = [p for p in results.promotions if float(p.harm) >= 1.5]
    high = max(beyond, key=lambda p: p.promoted.high, default=None)
    found.append(
        Promise(
            "promoted although +50 % (the tolerance) or worse, every cell",
            "upper bound ≤ 5 %",
            f"worst {percent(high.promoted)} % in {high.world}, ×{high.harm}" if high else "–",
            high.promoted.high <= LIMIT if high else None,
        )
    )
    return found


def _exposed(row: Row) -> str:
    return number(row.measures.exposed)


def _failed(row: Row) -> str:
    return f"{percent(row.measures.failed)} %"


def markdown(results: Results) -> str:
    """The report."""
    lines = [*text.HEAD, text.settings(results.replicates, results.seed), "", "## Acceptance", ""]
    words = {True: "kept", False: "**not kept**", None: "not simulated"}
    lines += table(
        ["promise of the default gate", "wanted", "measured", ""],
        ((p.name, p.wanted, p.found, words[p.kept]) for p in promises(results)),
    )
    lines += [*text.SIMULATED, "## False rollbacks", "", *text.FALSE, "![](decisions/false.svg)", ""]
    lines += _false_by_decider(results) + _false_by_world(results)
    lines += ["## Where Weir loses", "", *text.LOSES, *_losses(results)]
    lines += ["## Regressions", "", *text.REGRESSIONS, "![](decisions/exposed.svg)", ""]
    for world in results.worlds("rates"):
        lines += [f"### {world}", "", *_world(results, "rates", world)]
    lines += ["## Hard worlds", "", *text.HARD]
    for world in results.worlds("hard"):
        lines += [f"### {world}", "", *_world(results, "hard", world)]
    lines += ["## A leak after 15 minutes", "", *text.DELAYED, *_delayed(results)]
    lines += ["## Eight metrics at once", "", *text.EIGHT, *_family(results, "eight")]
    lines += ["## Latency", "", *text.LATENCY, *_family(results, "latency")]
    lines += ["## Promotion", "", *text.PROMOTION, "![](decisions/promotion.svg)", "", *_promotions(results)]
    return "\n".join([*lines, *text.LIMITS, ""])


def _false_by_decider(results: Results) -> list[str]:
    rows = []
    for decider in (d for d in results.deciders("rates") if d != "oracle"):
        cells = [r for r in results.null(decider) if r.family in TABLED]
        row = [decider]
        for harm in NULLS:
            some = [r for r in cells if r.harm == harm]
            worst = max(some, key=lambda r: r.measures.failed.value)
            over = sum(r.measures.failed.high > LIMIT for r in some)
            row += [f"{percent(worst.measures.failed)} in {worst.world}", f"{over} of {len(some)}"]
        rows.append(row)
    beyond = "worlds beyond 5 % (upper bound)"
    return table(["decider", "no harm: worst world, %", beyond, "+10 %: worst world, %", beyond], rows)


def _false_by_world(results: Results) -> list[str]:
    rows = []
    for family in TABLED:
        for world in results.worlds(family):
            cells = [results.find(family, world, harm, name) for name in (OURS, STRICT) for harm in NULLS]
            rows.append([world, *(percent(cell.measures.failed) if cell else "–" for cell in cells)])
    return table(["Weir's false rollbacks, %", "no harm", "+10 %", "strict: no harm", "strict: +10 %"], rows)


def _losses(results: Results) -> list[str]:
    lines = []
    for own in results.rows:
        if own.decider != OURS or own.family not in (*TABLED, "latency") or own in results.null(OURS):
            continue
        better = [
            f"{row.decider} {_short(row.measures.exposed.value)}"
            for row in results.rows
            if (row.family, row.world, row.harm) == (own.family, own.world, own.harm)
            and row.decider not in (OURS, STRICT, "oracle")
            and row.measures.exposed.high < own.measures.exposed.low
            and _calm(results, row)
        ]
        if better:
            lines.append(
                f"- {own.world}, {_harm(own.harm)}: Weir {_short(own.measures.exposed.value)}; {', '.join(better)}"
            )
    return [*(lines or ["Nowhere among these cells."]), ""]


def _calm(results: Results, row: Row) -> bool:
    """Whether the decider rolls back few of the releases of that world in which nothing is wrong."""
    harm = "×1" if row.family == "latency" else "1"
    null = results.find(row.family, row.world, harm, row.decider)
    return null is not None and null.measures.failed.high <= LIMIT


def _world(results: Results, family: str, world: str) -> list[str]:
    harms = [h for h in (*NULLS, *DETECTED) if results.find(family, world, h)]
    rows = []
    for decider in results.deciders(family):
        cells = [results.find(family, world, harm, decider) for harm in harms]
        rows.append([decider, *(_cell(cell) for cell in cells)])
    return table(["decider", *(_harm(h) for h in harms)], rows)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    if row.harm in NULLS:
        return percent(row.measures.failed)
    minutes = "–" if isnan(row.measures.minutes) else f"{row.measures.minutes:g} min"
    return f"{percent(row.measures.failed)}; {minutes}; {number(row.measures.exposed)}"


def _harm(harm: str) -> str:
    return {"1": "no harm", "1.1": "+10 %"}.get(harm, harm if not harm[0].isdigit() else f"×{harm}")


def _delayed(results: Results) -> list[str]:
    rows = [
        [
            r.world,
            f"×{r.harm}",
            r.decider,
            percent(r.measures.failed),
            percent(r.promoted) if r.promoted else "–",
            number(r.measures.exposed_bad),
        ]
        for r in results.rows
        if r.family == "delayed"
    ]
    return table(["world", "leak", "decider", "rolled back, %", "promoted, %", "bad requests before either"], rows)


def _family(results: Results, family: str) -> list[str]:
    harms = list(dict.fromkeys(r.harm for r in results.rows if r.family == family))
    rows = []
    for world in results.worlds(family):
        for decider in results.deciders(family):
            cells = [results.find(family, world, harm, decider) for harm in harms]
            rows.append(
                [
                    world,
                    decider,
                    *(f"{percent(c.measures.failed)}; {_short(c.measures.exposed.value)}" if c else "–" for c in cells),
                ]
            )
    return table(["world", "decider", *harms], rows)


def _promotions(results: Results) -> list[str]:
    rows = [
        [
            p.world,
            _harm(p.harm),
            percent(p.promoted),
            percent(p.rolled_back),
            percent(p.undecided),
            number(p.minutes),
            number(p.excess_bad),
        ]
        for p in results.promotions
    ]
    head = [
        "world",
        "candidate",
        "promoted, %",
        "rolled back, %",
        "undecided, %",
        "minutes to promote",
        "excess bad requests",
    ]
    return table(head, rows)


def pictures(results: Results) -> dict[str, str]:
    """File name → SVG."""
    deciders = results.deciders("rates")
    false = {
        d: [(r.measures.failed.value, r.harm == "1") for r in results.null(d) if r.family in TABLED] for d in deciders
    }
    panels: dict[str, plot.Series] = {}
    for world in ("independent 100 rps", "pods 1000 rps", "bursts of 5, 100 rps"):
        if world in results.worlds("rates"):
            panels[world] = {
                decider: [
                    (float(harm), row.measures.exposed.value)
                    for harm in DETECTED
                    if (row := results.find("rates", world, harm, decider))
                ]
                for decider in deciders
                if decider not in ("Argo, limit 3, NaN fails", STRICT)
            }
    made = {}
    if false:
        made["false.svg"] = plot.strip("False rollbacks in every world: no harm (full), +10 % (hollow)", false, LIMIT)
    if panels:
        title = "Requests exposed before the rollback (dashed: more than 5 % of harmless releases are rolled back)"
        dashed = {
            world: [
                d
                for d in series
                if d != "oracle" and not ((row := results.find("rates", world, "1", d)) and _calm(results, row))
            ]
            for world, series in panels.items()
        }
        made["exposed.svg"] = plot.curves(title, panels, deciders, dashed)
    if results.promotions:
        bars = {
            f"{p.world}, {_harm(p.harm)}": (p.promoted.value, p.rolled_back.value, p.undecided.value)
            for p in results.promotions
        }
        made["promotion.svg"] = plot.stacked(
            "How releases end within an hour", bars, ("promoted", "rolled back", "undecided")
        )
    return made


def cells(results: Results) -> str:
    """Every cell as CSV: values with the bounds of their 95 % intervals."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    triples = [f"{name}{end}" for name in ("rolled_back", "exposed", "exposed_bad") for end in ("", "_low", "_high")]
    writer.writerow(["family", "world", "harm", "decider", "replicates", *triples, "median_minutes"])
    for r in results.rows:
        m = r.measures
        values = [v for e in (m.failed, m.exposed, m.exposed_bad) for v in (e.value, e.low, e.high)]
        writer.writerow(
            [r.family, r.world, r.harm, r.decider, m.replicates, *(f"{v:.6g}" for v in values), f"{m.minutes:g}"]
        )
    return out.getvalue()
