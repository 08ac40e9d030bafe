"""What large and deep contracts cost, in seconds of one core: the operator reads them beside its other work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.contract.documents import Odcs, document, wide
from weir.contract.digest import contract_digest
from weir.contract.document import parse
from weir.contract.validation import problems


def cost(work: Callable[[Odcs], Any], odcs: Odcs) -> float:
    """Seconds of one core in the best of three rounds."""
    times = []
    for _ in range(3):
        started = time.process_time()
        work(odcs)
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize(("work", "limit"), [(parse, 0.05), (contract_digest, 0.05), (problems, 1.0)])
def test_given_a_contract_of_500_columns_then_each_step_is_quick(work: Callable[[Odcs], Any], limit: float) -> None:
    assert cost(work, wide(500)) < limit


def test_given_twice_the_columns_then_validation_takes_about_twice_as_long() -> None:
    assert cost(problems, wide(400)) < 4 * cost(problems, wide(200))


def test_given_twice_the_depth_then_validation_takes_no_multiple_for_each_level() -> None:
    # Where what is known of a field is found by validating it again, every level doubles the time.
    def deep(levels: int) -> Odcs:
        nested: Odcs = {"name": "x", "logicalType": "string"}
        for _ in range(levels):
            nested = {"name": "x", "logicalType": "object", "properties": [nested]}
        return document(nested)

    assert cost(problems, deep(40)) < 16 * cost(problems, deep(20))
