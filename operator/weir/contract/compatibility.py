"""The compatibility rules R1 to R10: whether a version, its clients and its data still fit each other.

Each rule compares two revisions, read as sets of permitted data, and says what must not happen between them. A change
that cannot be judged is never taken for harmless: it waits for somebody who answers for it (a waiver).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weir.contract.compare import COLUMN, changes
from weir.contract.finding import Change, Finding, Rule
from weir.contract.judging import LOOSER, TIGHTER, Judge, Question, binding, first, ordered
from weir.contract.revision import Bound, Contract, Revision
from weir.contract.usage import Contracts, described, is_input, served, sources

NOT_TRAINED = "trained-on-unknown"
NOT_DECLARED = "contract-not-declared"

_FORWARD = frozenset({"Forward", "ForwardTransitive", "Full", "FullTransitive"})
_BACKWARD = frozenset({"Backward", "BackwardTransitive", "Full", "FullTransitive"})


def release_findings(candidate: Bound, stable: Bound | None, contracts: Contracts, now: float) -> tuple[Finding, ...]:
    """What the contracts say against making the candidate stable (R1 to R3 and R7 to R10), what holds it first.

    ``now``: seconds since 1970, for waivers. An accepted incompatibility stays in the list as a Pass that tells who
    accepted it. `splittable` is R4, `rollbackable` R5.
    """
    judge = Judge(contracts, now)
    found = [*_unreadable(candidate, contracts), *_untrained(judge, candidate), *_data(judge, candidate)]
    if stable is not None:
        found += _requests(judge, "R2", stable, candidate)
        found += _answers(judge, "R3", stable, candidate)
        found += _retraining(judge, candidate, stable)
        found += _undeclared(judge, candidate, stable)
    return ordered(found)


def splittable(candidate: Bound, stable: Bound | None, contracts: Contracts, now: float) -> tuple[bool, str]:
    """R4: whether both versions may share traffic, and why not.

    Either version may answer a client that knows one contract of requests: a property may come or go only when it is
    not required. All answers must be what the consumers of the stable version were promised.
    """
    if stable is None:
        return True, ""
    judge = Judge(contracts, now)
    found = binding(
        [
            *_requests(judge, "R4", stable, candidate),
            *_requests(judge, "R4", candidate, stable),
            *_answers(judge, "R4", stable, candidate),
        ]
    )
    return not found, first(found)


def rollbackable(candidate: Bound, stable: Bound | None, contracts: Contracts, now: float) -> tuple[bool | None, str]:
    """R5: whether the stable version still fits its data and the candidate's clients, once the candidate is stable.

    None where no contract tells, or where a change cannot be judged; the message then says which.
    """
    told = stable is not None and (
        stable.trained_on or (stable.request and candidate.request) or (stable.response and candidate.response)
    )
    if stable is None or not told:
        return None, ""
    judge = Judge(contracts, now)
    found = binding(
        [
            *_unreadable(stable, contracts),
            *_data(judge, stable),
            *_requests(judge, "R5", candidate, stable),
            *_answers(judge, "R5", candidate, stable),
        ]
    )
    failed = [finding for finding in found if finding.judgement == "Fail"]
    if failed:
        return False, first(failed)
    return (None, first(found)) if found else (True, "")


def revision_findings(
    contract: Contract,
    bound: Sequence[Bound],
    now: float,
    *,
    targets: Sequence[Bound] = (),
    history: Sequence[Revision] = (),
    contracts: Contracts | None = None,
) -> tuple[Finding, ...]:
    """What the current revision of a contract breaks: versions in use (R6) and earlier revisions (R6, R7).

    ``bound``: versions that serve, ``targets``: those one may roll back to; ``spec.compatibility.against`` says which
    count. ``history``: earlier revisions, oldest first; all count in the transitive modes, else the last. What it says
    of earlier revisions only warns: it breaks nobody by itself. ``contracts``: the others that feed these versions.
    """
    policy, current = contract.spec.compatibility, contract.current
    if current is None or policy.mode == "None":
        return ()
    judge = Judge({**(contracts or {}), contract.name: contract}, now)
    found: list[Finding] = []
    if policy.mode in _FORWARD:
        serving = bound if "ServedBy" in policy.against else ()
        fallback = targets if "RollbackTargets" in policy.against else ()
        for version in {b.version: b for b in (*fallback, *serving)}.values():
            found += _data(judge, version, changed=contract.name)
    return ordered(
        [*found, *_evolution(judge, current, history if policy.mode.endswith("Transitive") else history[-1:])]
    )


def _data(judge: Judge, version: Bound, changed: str = "") -> list[Finding]:
    """R1, or R6 for the one contract that ``changed``: what a version reads while it serves is what it learnt from."""
    found = []
    for trained in version.trained_on:
        if not is_input(judge.contracts.get(trained.name)):
            continue
        for source, seen in served(version, trained, judge.contracts):
            if changed not in ("", source.name):
                continue
            question = Question(
                "R6" if changed else "R1",
                trained,
                source,
                LOOSER,
                f"ModelVersion {version.version} was trained on {_pin(trained)} and is served from {_pin(source)}, "
                "so it may get data that it was not made for",
                f"release a version that is trained on {_pin(source)}, or restore the promise in a further version of "
                f"the DataContract {source.name}",
                reader=version,
            )
            found += judge.judged(question, seen)
    return found


def _requests(judge: Judge, rule: Rule, before: Bound, after: Bound) -> list[Finding]:
    """R2, R4, R5: what clients of one version send suits another."""
    if before.request is None or after.request is None:
        return []
    question = Question(
        rule,
        before.request,
        after.request,
        TIGHTER,
        f"Clients of ModelVersion {before.version} send what {_pin(before.request)} permits, "
        f"and ModelVersion {after.version} may not accept it",
        f"name a contract in contracts.request of a new ModelVersion that permits it as {before.version} does",
    )
    return judge.judged(question, _of_messages(before.request, after.request))


def _answers(judge: Judge, rule: Rule, before: Bound, after: Bound) -> list[Finding]:
    """R3, R4, R5: what one version answers is what consumers of another were promised."""
    if before.response is None or after.response is None:
        return []
    question = Question(
        rule,
        before.response,
        after.response,
        LOOSER,
        f"Consumers of ModelVersion {before.version} were promised {_pin(before.response)}, "
        f"and ModelVersion {after.version} may answer something else",
        f"keep the promise in the contract of {after.version}'s answers, or serve them under an endpoint of their own",
    )
    return judge.judged(question, _of_messages(before.response, after.response))


def _of_messages(old: Revision, new: Revision) -> Iterator[Change]:
    """Changes of requests or answers, in which a property that is not required may be left out anyway."""
    needed = {
        path
        for revision in (old, new)
        for path, column in revision.document.paths()
        if column.required or column.primary_key
    }
    for change in changes(old, new):
        if change.rule != COLUMN or change.path in needed:
            yield change


def _retraining(judge: Judge, candidate: Bound, stable: Bound) -> list[Finding]:
    """R7: a version trained on a new contract can be tried on the history that the old one describes."""
    found: list[Finding] = []
    for before in stable.trained_on:
        for after in candidate.trained_on:
            if after.name == before.name:
                question = Question(
                    "R7",
                    before,
                    after,
                    TIGHTER,
                    f"ModelVersion {candidate.version} was trained on {_pin(after)} and may not read the history that "
                    f"{_pin(before)} describes, which evaluation and replay need",
                    "evaluate it on data of the new contract only",
                    effect="Warn",
                )
                found += judge.judged(question, changes(before, after))
    # What else differs between two trainings is no matter of history: R1 compares each with what it is served.
    return [finding for finding in found if finding.rule == "R7"]


def _evolution(judge: Judge, current: Revision, earlier: Sequence[Revision]) -> list[Finding]:
    """R6 and R7 between revisions: each difference once, told of the newest revision that shows it."""
    mode = judge.contracts[current.name].spec.compatibility.mode
    found: dict[tuple[str, str, str], Finding] = {}
    for before in reversed(earlier):
        asked: list[Question] = []
        repair = "keep the old promise in a further version of the contract"
        if mode in _FORWARD:
            why = f"Whoever reads by the earlier revision {_pin(before)} may get data that it does not permit"
            asked.append(Question("R6", before, current, LOOSER, why, repair, effect="Warn"))
        if mode in _BACKWARD:
            why = f"Data of the earlier revision {_pin(before)} may be what a version trained on this one cannot read"
            asked.append(Question("R7", before, current, TIGHTER, why, repair, effect="Warn"))
        seen = changes(before, current)
        for finding in (f for question in asked for f in judge.judged(question, seen)):
            found.setdefault((finding.rule, finding.change, finding.path), finding)
    return list(found.values())


def _unreadable(version: Bound, contracts: Contracts) -> Iterator[Finding]:
    """Contracts that the version names and that nothing can be compared with."""
    missing = dict(version.missing)
    for name in sources(version):
        contract = contracts.get(name)
        if name not in missing and (contract is None or contract.current is None):
            missing[name] = (contract.problem if contract is not None else "") or "it does not exist"
    for name, reason in sorted(missing.items()):
        text = f"The DataContract {name}, which ModelVersion {version.version} names, cannot be read: {reason}"
        way_out = "Repair the DataContract, or name another one in a new ModelVersion."
        yield Finding(name, "Document", "Unknown", "BlockPromotion", f"{text.rstrip('.')}. {way_out}")


def _untrained(judge: Judge, version: Bound) -> Iterator[Finding]:
    """R10: nothing says which data the version was trained on."""
    if version.missing:
        return
    if not version.trained_on:
        for name in version.served_from:
            why = f"Nothing says which data ModelVersion {version.version} was trained on; it is served from {name}"
            yield judge.unknown("R10", name, NOT_TRAINED, version.version, why)
        return
    known = frozenset[str]().union(*(described(trained.document) for trained in version.trained_on))
    for path in sorted(version.uses - known):
        why = f"ModelVersion {version.version} uses {path}, which none of its contracts in trainedOn describes"
        yield judge.unknown("R10", version.trained_on[0].name, NOT_TRAINED, path, why)


def _undeclared(judge: Judge, candidate: Bound, stable: Bound) -> Iterator[Finding]:
    """R2 and R3 where only the stable version declares its side."""
    sides: tuple[tuple[Rule, str, Revision | None, Revision | None], ...] = (
        ("R2", "request", stable.request, candidate.request),
        ("R3", "response", stable.response, candidate.response),
    )
    for rule, role, before, after in sides:
        if before is not None and after is None and not candidate.missing:
            why = (
                f"ModelVersion {stable.version} names a contract in contracts.{role} ({_pin(before)}) and ModelVersion "
                f"{candidate.version} names none, so nothing says whether they fit"
            )
            yield judge.unknown(rule, before.name, NOT_DECLARED, candidate.version, why)


def _pin(revision: Revision) -> str:
    """``NAME@sha256:…`` with the first digits of the digest."""
    return f"{revision.name}@{revision.digest[:19]}"
