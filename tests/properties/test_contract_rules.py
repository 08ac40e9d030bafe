"""Promises of the compatibility rules: where a rule is silent, every row that may come is one that is permitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.properties.contract_rows import Data, Odcs, accepts, changed, column_accepts, contracts, data
from tests.unit.contract.contracts import NOW, bound, contract, known, waiver
from weir.api.datacontract import Semantics
from weir.contract.compare import changes
from weir.contract.compatibility import release_findings, revision_findings, rollbackable, splittable
from weir.contract.document import parse
from weir.contract.finding import Finding
from weir.contract.revision import Revision

_slow = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
Clean = Callable[[Revision, Revision], bool]


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[Odcs, Odcs]:
    first = draw(contracts())
    return first, draw(changed(first))


def _revision(odcs: Odcs) -> Revision:
    return Revision("c", "sha256:0", parse(odcs))


def _silent(findings: Sequence[Finding]) -> bool:
    return all(finding.judgement == "Pass" for finding in findings)


def _r1(trained: Revision, served: Revision) -> bool:
    return _silent(release_findings(bound(trained_on=(trained,)), None, known(contract(served)), NOW))


def _r5_data(trained: Revision, served: Revision) -> bool:
    return rollbackable(bound(), bound("v1", trained_on=(trained,)), known(contract(served)), NOW)[0] is True


def _r6(trained: Revision, served: Revision) -> bool:
    return _silent(revision_findings(contract(served), [bound("v1", trained_on=(trained,))], NOW))


def _r6_history(earlier: Revision, current: Revision) -> bool:
    return _silent(revision_findings(contract(current), [], NOW, history=[earlier]))


def _r7(current: Revision, earlier: Revision) -> bool:
    backward = contract(current, compatibility={"mode": "Backward"})
    return _silent(revision_findings(backward, [], NOW, history=[earlier]))


def _r7_release(current: Revision, earlier: Revision) -> bool:
    versions = bound(trained_on=(current,)), bound("v1", trained_on=(earlier,))
    return all(f.rule != "R7" for f in release_findings(*versions, known(contract(current)), NOW)) and not any(
        change.direction == "undetermined" for change in changes(earlier, current)
    )


@pytest.mark.parametrize("silent", [_r1, _r5_data, _r6, _r6_history, _r7, _r7_release])
@_slow
@given(st.data(), _pairs())
def test_where_a_rule_about_data_is_silent_all_data_of_one_is_permitted_by_the_other(
    silent: Clean, drawn: st.DataObject, pair: tuple[Odcs, Odcs]
) -> None:
    wide, narrow = pair
    assume(silent(_revision(wide), _revision(narrow)))

    rows = drawn.draw(data(narrow, wide))

    assert not accepts(rows, narrow) or accepts(rows, wide)


def _r2(sent: Revision, read: Revision) -> bool:
    return _silent(release_findings(bound(request=read), bound("v1", request=sent), {}, NOW))


def _r3(sent: Revision, read: Revision) -> bool:
    return _silent(release_findings(bound(response=sent), bound("v1", response=read), {}, NOW))


def _r4(sent: Revision, read: Revision) -> bool:
    return splittable(bound(request=read), bound("v1", request=sent), {}, NOW)[0]


def _r4_back(sent: Revision, read: Revision) -> bool:
    return splittable(bound(request=sent), bound("v1", request=read), {}, NOW)[0]


def _r4_answers(sent: Revision, read: Revision) -> bool:
    return splittable(bound(response=sent), bound("v1", response=read), {}, NOW)[0]


def _r5(sent: Revision, read: Revision) -> bool:
    return rollbackable(bound(request=sent), bound("v1", request=read), {}, NOW)[0] is True


def _r5_answers(sent: Revision, read: Revision) -> bool:
    return rollbackable(bound(response=read), bound("v1", response=sent), {}, NOW)[0] is True


@pytest.mark.parametrize("silent", [_r2, _r3, _r4, _r4_back, _r4_answers, _r5, _r5_answers])
@_slow
@given(st.data(), _pairs())
def test_where_a_rule_about_messages_is_silent_every_message_is_understood(
    silent: Clean, drawn: st.DataObject, pair: tuple[Odcs, Odcs]
) -> None:
    sent, read = pair
    assume(silent(_revision(sent), _revision(read)))

    messages = drawn.draw(data(sent, read))
    leave_out = drawn.draw(st.booleans())

    for table in sent["schema"]:
        for row in messages.get(table["name"], []):
            message = _message(row, table, leave_out=leave_out)
            if _understood(message, sent, table["name"]):
                assert _understood(message, read, table["name"])


def _message(row: dict[str, Any], table: Odcs, *, leave_out: bool) -> dict[str, Any]:
    """What one sends that knows the contract: its properties, without those that need not be there."""
    return {c["name"]: row[c["name"]] for c in table["properties"] if _needed(c) or not leave_out}


def _needed(column: Odcs) -> bool:
    return bool(column.get("required") or column.get("primaryKey"))


def _understood(message: dict[str, Any], odcs: Odcs, table: str) -> bool:
    columns: list[Odcs] = next((found["properties"] for found in odcs["schema"] if found["name"] == table), [])
    return all(column_accepts(message, c) or (c["name"] not in message and not _needed(c)) for c in columns)


@_slow
@given(st.data(), _pairs())
def test_a_version_that_uses_some_columns_is_told_of_all_that_touches_them(
    drawn: st.DataObject, pair: tuple[Odcs, Odcs]
) -> None:
    wide, narrow = pair
    paths = [f"{table['name']}.{column['name']}" for table in wide["schema"] for column in table["properties"]]
    assume(paths)
    used = drawn.draw(st.lists(st.sampled_from(paths), min_size=1, unique=True))
    version = bound(trained_on=(_revision(wide),), uses=used)
    assume(_silent(release_findings(version, None, known(contract(_revision(narrow))), NOW)))

    rows = drawn.draw(data(narrow, wide))

    assert not accepts(rows, narrow) or _columns_accepted(rows, wide, used)


def _columns_accepted(rows: Data, odcs: Odcs, used: Sequence[str]) -> bool:
    return all(
        column_accepts(row, column)
        for table in odcs["schema"]
        for column in table["properties"]
        if f"{table['name']}.{column['name']}" in used
        for row in rows.get(table["name"], [])
    )


@_slow
@given(_pairs())
def test_what_cannot_be_judged_is_never_silent(pair: tuple[Odcs, Odcs]) -> None:
    old, new = map(_revision, pair)
    unknown = {(c.rule, c.path) for c in changes(old, new) if c.direction == "undetermined"}

    for findings in (
        release_findings(bound(trained_on=(old,)), None, known(contract(new)), NOW),
        release_findings(bound(request=new), bound("v1", request=old), {}, NOW),
        release_findings(bound(response=new), bound("v1", response=old), {}, NOW),
    ):
        told = {(f.change, f.path) for f in findings if f.rule == "R9" and f.effect == "RequireApproval"}
        assert unknown == told


@_slow
@given(_pairs(), st.sampled_from(["unit", "timezone", "encoding", "meaningRef"]), st.booleans())
def test_another_meaning_is_never_silent(pair: tuple[Odcs, Odcs], field: str, stated: bool) -> None:
    table = pair[0]["schema"][0]["name"]

    def of(value: str) -> Revision:
        meaning = Semantics.model_validate({"property": f"{table}.somewhere", field: value})
        return Revision("c", f"sha256:{value}", parse(pair[0]), (meaning,) if value else ())

    old, new = of("a" if stated else ""), of("b")

    for findings in (
        release_findings(bound(trained_on=(old,)), None, known(contract(new)), NOW),
        release_findings(bound(request=new), bound("v1", request=old), {}, NOW),
        release_findings(bound(response=new), bound("v1", response=old), {}, NOW),
    ):
        assert [f.rule for f in findings] == ["R8" if stated else "R9"]


@_slow
@given(contracts(), st.lists(st.sampled_from(["t.a", "t.b", "u.a", "x.y"]), unique=True))
def test_a_version_without_a_record_of_its_training_is_never_silent(odcs: Odcs, used: list[str]) -> None:
    version = bound(served_from=("c",), uses=used)

    findings = release_findings(version, None, known(contract(_revision(odcs))), NOW)

    assert [(f.rule, f.judgement) for f in findings] == [("R10", "Unknown")]


@_slow
@given(_pairs())
def test_waivers_for_everything_let_everything_pass_until_they_expire(pair: tuple[Odcs, Odcs]) -> None:
    old, new = map(_revision, pair)
    seen = sorted({(c.rule, c.path) for c in changes(old, new)})
    waivers = [waiver(rule, path, expires="2028-01-01T00:00:00Z") for rule, path in seen]
    version, now = bound(trained_on=(old,)), contract(new, compatibility={"waivers": waivers})
    plain = release_findings(version, None, known(contract(new)), NOW)

    waived = release_findings(version, None, known(now), NOW)
    later = release_findings(version, None, known(now), NOW + 10 * 365 * 86400)

    assert _silent(waived)
    assert [(f.rule, f.path, f.judgement) for f in later] == [(f.rule, f.path, f.judgement) for f in plain]
    assert len(waived) == len(plain)
