"""Judging drift: verdicts, the state in the status, and the words."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from weir.api.datacontractstatus import DriftStatus
from weir.api.distribution import Drift
from weir.contract.drift import judge, unjudged
from weir.contract.profile import BinCounts, ColumnProfile

DRIFT = Drift(name="amount", property="orders.amount", tolerance=Decimal("0.1"), min_samples=1000)
REFERENCE = ColumnProfile(edges=("20", "40", "60"), counts=(60_000, 20_000, 12_000, 8_000))
GOOD = BinCounts((600, 200, 120, 80, 0))
BAD = BinCounts((410, 200, 310, 80, 0))
T = 1_800_000_000.0


def after(*batches: BinCounts, old: DriftStatus | None = None, drift: Drift = DRIFT, **more: object) -> DriftStatus:
    """The status after those batches, one a minute."""
    for number, counts in enumerate(batches):
        old = judge(drift, REFERENCE, counts, old, now=T + 60 * number, **more)  # type: ignore[arg-type]
    assert old is not None
    return old


def test_given_few_rows_when_judged_then_it_is_unknown_until_there_are_enough() -> None:
    few = BinCounts((240, 80, 48, 32, 0))
    status = after(few)
    assert (status.verdict, status.samples) == ("Unknown", 400)
    assert status.message == "orders.amount: 400 of the 1,000 rows seen that a verdict needs"
    assert after(few, few, few).verdict == "Pass"


def test_given_rows_like_the_reference_when_judged_then_it_passes_and_tells_the_distances() -> None:
    status = after(GOOD, BinCounts((620, 190, 110, 80, 0)))
    assert status.verdict == "Pass"
    assert status.total_variation == pytest.approx(Decimal("0.01"), abs=Decimal("0.002"))
    assert status.psi is not None
    assert status.jensen_shannon is not None
    assert status.kolmogorov_smirnov is not None
    assert "no data drift" in status.message
    assert status.since == T


def test_given_drift_when_judged_then_it_fails_and_says_how_far_and_where() -> None:
    status = after(GOOD, GOOD, BAD, BAD, BAD, BAD, BAD)
    assert status.verdict == "Fail"
    assert status.since is not None
    assert status.since > T
    assert status.message.startswith(
        "orders.amount: data drift: 19 % of rows would have to change to look like the reference (tolerance 10 %); most"
        " moved: 40–60, 12 % → 31 %. It passes again when 1,000 rows in a row look like the reference"
    )


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (["Prediction"], "prediction drift"),
        (["Label"], "label drift"),
        (["ServingInput"], "data drift"),
        (["Features", "Label"], "data drift"),
        ([], "data drift"),
    ],
)
def test_given_the_roles_of_the_contract_when_judged_then_the_message_says_what_drifts(
    roles: list[str], words: str
) -> None:
    assert words in after(BAD, BAD, BAD, roles=roles).message


def test_given_a_failure_when_the_data_is_good_again_then_it_passes_again_by_itself() -> None:
    failed = after(BAD, BAD, BAD)
    assert failed.verdict == "Fail"
    back = judge(DRIFT, REFERENCE, BinCounts((3000, 1000, 600, 400, 0)), failed, now=T + 900)
    assert (back.verdict, back.since, back.samples) == ("Pass", T + 900, 5000)


def test_given_a_failure_when_few_good_rows_come_then_it_stays_and_counts_them() -> None:
    failed = after(BAD, BAD, BAD)
    still = judge(DRIFT, REFERENCE, BinCounts((300, 100, 60, 40, 0)), failed, now=T + 900)
    assert (still.verdict, still.since) == ("Fail", failed.since)
    assert "(500 so far)" in still.message


def test_given_the_same_check_twice_when_judged_then_it_counts_once() -> None:
    once = judge(DRIFT, REFERENCE, GOOD, None, now=T, source="orders-202611210000")
    assert judge(DRIFT, REFERENCE, BAD, once, now=T + 1, source="orders-202611210000") == once
    next_one = judge(DRIFT, REFERENCE, GOOD, once, now=T + 1, source="orders-202611210100")
    assert (next_one.samples, next_one.source) == (2000, "orders-202611210100")


def test_given_live_increments_when_judged_then_each_counts() -> None:
    assert after(GOOD, GOOD, GOOD).samples == 3000


def test_given_a_status_that_was_stored_when_it_goes_on_then_nothing_has_changed() -> None:
    rng, straight, stored = np.random.default_rng(1), None, None
    for number in range(25):
        shares = [0.6, 0.2, 0.12, 0.08, 0.0] if number < 12 else [0.35, 0.2, 0.35, 0.08, 0.02]
        counts = BinCounts(tuple(int(count) for count in rng.multinomial(300, shares)))
        straight = judge(DRIFT, REFERENCE, counts, straight, now=T + number)
        read = DriftStatus.model_validate(stored.to_dict()) if stored else None
        stored = judge(DRIFT, REFERENCE, counts, read, now=T + number)
        assert stored == straight
    assert straight is not None
    assert straight.verdict == "Fail"


@pytest.mark.parametrize(
    "changed",
    [DRIFT.model_copy(update={"tolerance": Decimal("0.2")}), DRIFT.model_copy(update={"alpha": Decimal("0.05")})],
)
def test_given_another_question_when_judged_then_the_test_begins_anew(changed: Drift) -> None:
    failed = after(BAD, BAD, BAD)
    assert judge(changed, REFERENCE, GOOD, failed, now=T + 900).samples == 1000
    other = ColumnProfile(edges=("20", "40", "61"), counts=REFERENCE.counts)
    status = judge(DRIFT, other, GOOD, failed, now=T + 900)
    assert (status.verdict, status.samples, status.since) == ("Pass", 1000, T + 900)


@pytest.mark.parametrize("state", ["", "???", "0123456789abcdef:AAAA"])
def test_given_a_broken_state_when_judged_then_the_test_begins_anew(state: str) -> None:
    broken = after(GOOD).model_copy(update={"state": state})
    assert judge(DRIFT, REFERENCE, GOOD, broken, now=T).samples == 1000
    kept = after(GOOD)
    cut = kept.model_copy(update={"state": kept.state[:-8]})
    assert judge(DRIFT, REFERENCE, GOOD, cut, now=T).samples == 1000


def test_given_a_small_reference_when_it_passes_or_fails_then_the_message_says_what_chance_hides() -> None:
    small = ColumnProfile(edges=("20", "40", "60"), counts=(600, 200, 120, 80))
    status = judge(DRIFT, small, GOOD, None, now=T)
    assert status.verdict == "Pass"
    assert "as the reference has only 1,000 rows" in status.message


def test_given_a_reference_of_a_few_rows_when_judged_then_nothing_can_be_told() -> None:
    tiny = ColumnProfile(edges=("20",), counts=(2, 1))
    status = judge(DRIFT, tiny, BinCounts((500_000, 0, 0)), None, now=T)
    assert status.verdict == "Unknown"
    assert "make it of more rows" in status.message
    empty = judge(DRIFT, ColumnProfile(counts=(0,)), BinCounts((5, 0)), None, now=T)
    assert empty.verdict == "Unknown"
    assert "cannot be compared with the reference" in empty.message


def test_given_counts_in_other_bins_when_judged_then_it_is_unknown_and_the_test_is_kept() -> None:
    old = after(GOOD)
    status = judge(DRIFT, REFERENCE, BinCounts((1, 2)), old, now=T + 60)
    assert (status.verdict, status.state, status.samples) == ("Unknown", old.state, old.samples)
    assert judge(DRIFT, REFERENCE, GOOD, status, now=T + 120).verdict == "Pass"


def test_given_no_answer_when_unjudged_then_a_pass_becomes_unknown_and_a_failure_stays() -> None:
    passed, failed = after(GOOD), after(BAD, BAD, BAD)
    gone = unjudged(DRIFT, passed, "the pods do not answer", now=T + 300, source="")
    assert (gone.verdict, gone.since, gone.message) == ("Unknown", T + 300, "orders.amount: the pods do not answer")
    stays = unjudged(DRIFT, failed, "the pods do not answer", now=T + 300, source="")
    assert (stays.verdict, stays.since) == ("Fail", failed.since)
    assert unjudged(DRIFT, None, "no profile", now=T, key="amount/v1").key == "amount/v1"


def test_given_nulls_and_values_when_they_drift_then_they_are_bins_like_others() -> None:
    reference = ColumnProfile(nulls=0, top=(("DE", 50_000), ("FR", 40_000)), other=10_000)
    drift = Drift(name="country", property="orders.country")
    status = judge(drift, reference, BinCounts((2500, 2000, 500, 5000)), None, now=T)
    assert status.verdict == "Fail"
    assert "most moved: null, 0 % → 50 %" in status.message
    assert status.kolmogorov_smirnov is None


def test_given_the_most_bins_when_judged_then_the_status_holds_it() -> None:
    reference = ColumnProfile(edges=tuple(str(edge) for edge in range(199)), counts=(10**6,) * 200)
    status = judge(DRIFT, reference, BinCounts((10**9,) * 201), None, now=T)
    assert len(status.state) <= 8192
    assert DriftStatus.model_validate(status.to_dict()).state == status.state
