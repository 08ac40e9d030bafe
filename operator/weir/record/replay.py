"""Replays a sealed record: every verdict of its decision log recomputed from its windows, its hash, and its chain.

``python -m weir.record.replay RECORD.yaml`` prints what agrees. Exit code: 0 all agrees, 1 a difference, 2 unreadable.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import yaml
from pydantic import ValidationError

from weir.api.base import format_time
from weir.api.evidencestatus import EvidenceStatus
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import DecisionEntry, Measurement
from weir.record.contracts import ContractDecision, contract_decisions
from weir.record.recompute import JUDGED, NotRecomputableError, Then, differences, same_state, then, together
from weir.release.ledger import parse
from weir.release.record import record_hash
from weir.release.series import recomputed

AGREES, DIFFERS, UNREADABLE = 0, 1, 2
"""Exit codes."""

Finding = Literal["agrees", "differs", "not recomputed"]


class RecordError(ValueError):
    """What was given is no readable record; the message says why."""


@dataclass(frozen=True)
class Check:
    """One comparison of what is recorded with what is recomputed; ``gate`` is empty for the record as a whole."""

    decision: str
    gate: str
    recorded: str
    recomputed: str
    finding: Finding
    detail: str = ""


@dataclass(frozen=True)
class Replay:
    """All comparisons of one record."""

    name: str
    checks: tuple[Check, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return all(check.finding != "differs" for check in self.checks)


def replay(name: str, record: RolloutRecordSpec, previous: RolloutRecordSpec | None = None) -> Replay:
    """Recomputes a record; ``previous``: the record before it, where it is at hand."""
    checks = [_seal(record)]
    if previous is not None:
        checks.append(_link(record, previous))
    evidence = {seen.gate: seen for seen in record.evidence}
    for entry in record.decisions:
        checks += _entry(record, entry, evidence)
    checks += [_contracts(found) for found in contract_decisions(record)]
    checks += [_state(record, seen) for seen in record.evidence if any(series.state for series in seen.series)]
    return Replay(name, tuple(checks))


def _seal(record: RolloutRecordSpec) -> Check:
    return _equal("hash", record.hash, record_hash(record), "the record was changed after it was sealed")


def _link(record: RolloutRecordSpec, previous: RolloutRecordSpec) -> Check:
    return _equal("previousHash", record.previous_hash, previous.hash, "the record before it is another")


def _equal(what: str, recorded: str, again: str, wrong: str) -> Check:
    same = recorded == again
    return Check(what, "", recorded[:19], again[:19], "agrees" if same else "differs", "" if same else wrong)


def _entry(record: RolloutRecordSpec, entry: DecisionEntry, evidence: Mapping[str, EvidenceStatus]) -> list[Check]:
    """Every measurement of one decision: each gate by itself, then all together, since they roll back together."""
    gates = {gate.name: gate for gate in record.gates}
    known: dict[str, Then] = {}
    unknown: dict[str, str] = {}
    for measured in entry.evidence:
        gate = gates.get(measured.gate)
        if gate is None:
            unknown[measured.gate] = "the gate was removed during the release"
            continue
        try:
            known[measured.gate] = then(gate, measured, evidence.get(measured.gate), record.judgement)
        except NotRecomputableError as reason:
            unknown[measured.gate] = str(reason)
        except ValueError as error:
            unknown[measured.gate] = f"!{error}"
    concurrent = all(measured.comparative for measured in entry.evidence)
    states = together(record.gates, known, record.judgement, concurrent=concurrent)
    label = f"{format_time(entry.at)} {entry.reason}"
    found = []
    for measured in entry.evidence:
        if measured.gate in unknown:
            found.append(_unknown(label, measured, unknown[measured.gate]))
            continue
        state = states[measured.gate]
        wrong = differences(measured, state)
        shown = str(state.verdict) if measured.verdict in JUDGED else "-"
        finding: Finding = "differs" if wrong else "agrees"
        if wrong and unknown and state.verdict is not measured.verdict and len(wrong) == 1 and "Fail" in wrong[0]:
            finding, wrong = "not recomputed", ["all gates decide together, and not all can be recomputed"]
        found.append(Check(label, measured.gate, str(measured.verdict), shown, finding, "; ".join(wrong)))
    return found


def _contracts(found: ContractDecision) -> Check:
    label = f"{format_time(found.entry.at)} {found.entry.reason}"
    finding: Finding = "differs" if found.wrong else "agrees"
    return Check(label, "(contracts)", found.recorded, found.recomputed, finding, found.wrong)


def _unknown(label: str, measured: Measurement, why: str) -> Check:
    """What cannot be recomputed is said; what contradicts itself is a difference."""
    finding: Finding = "differs" if why.startswith("!") else "not recomputed"
    return Check(label, measured.gate, str(measured.verdict), "-", finding, why.removeprefix("!"))


def _state(record: RolloutRecordSpec, evidence: EvidenceStatus) -> Check:
    """The state at the end of the release against the windows that it is said to follow from."""
    gate = next((g for g in record.gates if g.name == evidence.gate), None)
    label = "state at the end"
    if gate is None:
        return Check(label, evidence.gate, "a state", "-", "not recomputed", "the gate was removed during the release")
    try:
        entries = parse(evidence.windows)
        again = [recomputed(gate, s.base, s.noise, entries, place) for place, s in enumerate(evidence.series)]
        same = same_state(gate, [s.state for s in evidence.series], again, evidence.candidate.total)
    except (ValueError, IndexError) as error:
        return Check(label, evidence.gate, "a state", "-", "differs", str(error))
    why = "" if same else "the windows do not lead to the state that was decided on"
    return Check(
        label, evidence.gate, "a state", "the same" if same else "another", "agrees" if same else "differs", why
    )


# --- Reading and printing --------------------------------------------------------------------------------------------


def load(text: str) -> list[tuple[str, RolloutRecordSpec]]:
    """Names and contents of all records in YAML or JSON: single objects, several documents, or a List.

    Raises RecordError.
    """
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise RecordError(f"no YAML: {error}") from error
    objects = [o for d in documents if isinstance(d, dict) for o in (d.get("items") or [d]) if isinstance(o, dict)]
    records = [parsed(o) for o in objects if o.get("kind") == "RolloutRecord"]
    if not records:
        raise RecordError("no RolloutRecord found")
    return records


def parsed(document: Mapping[str, Any]) -> tuple[str, RolloutRecordSpec]:
    """Name and content of a RolloutRecord as the API server shows it. Raises RecordError."""
    name = str((document.get("metadata") or {}).get("name") or "record")
    try:
        return name, RolloutRecordSpec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        wrong = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise RecordError(f"{name}: {wrong}") from error


def replay_all(records: Sequence[tuple[str, RolloutRecordSpec]]) -> list[Replay]:
    """Replays records, each held against the one before it where that is among them."""
    before = {(r.rollout_uid, r.release): r for _, r in records}
    return [replay(name, r, before.get((r.rollout_uid, r.release - 1))) for name, r in records]


def show(replays: Sequence[Replay], out: TextIO) -> None:
    """Prints replays as text: one line a comparison."""
    for one in replays:
        rows = [("decision", "gate", "recorded", "recomputed", "")]
        rows += [(c.decision, c.gate, c.recorded, c.recomputed, c.finding) for c in one.checks]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        out.write(f"{one.name}: {'all that can be recomputed agrees' if one.agrees else 'DIFFERS'}\n")
        details = ["", *(c.detail for c in one.checks)]
        for row, detail in zip(rows, details, strict=True):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            out.write(f"  {line}{'  ' + detail if detail else ''}".rstrip() + "\n")


def as_json(replays: Sequence[Replay]) -> str:
    """The same for programs."""
    return json.dumps([{**asdict(one), "agrees": one.agrees} for one in replays], indent=2, ensure_ascii=False)


def exit_code(replays: Sequence[Replay]) -> int:
    """0 when all agree, else 1."""
    return AGREES if all(one.agrees for one in replays) else DIFFERS


def main(arguments: Sequence[str]) -> int:
    """Replays the records in a file (``-``: standard input) and prints them; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m weir.record.replay RECORD.yaml\n")
        return UNREADABLE
    try:
        text = sys.stdin.read() if arguments[0] == "-" else Path(arguments[0]).read_text(encoding="utf-8")
        replays = replay_all(load(text))
    except (RecordError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return UNREADABLE
    show(replays, sys.stdout)
    return exit_code(replays)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
