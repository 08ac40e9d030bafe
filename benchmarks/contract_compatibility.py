"""``python -m benchmarks.contract_compatibility``: what it costs to compare contracts, in milliseconds of one core."""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import DataContractStatus
from weir.contract.compare import changes
from weir.contract.compatibility import release_findings
from weir.contract.digest import contract_digest
from weir.contract.document import parse
from weir.contract.revision import Bound, Contract, Revision

_NOW = 1_800_000_000.0


def document(columns: int) -> dict[str, Any]:
    """A contract of one table with that many columns, each with a type, limits and a quality rule."""
    return {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "wide",
        "version": "1.0.0",
        "status": "active",
        "schema": [{"name": "wide", "properties": [_column(number) for number in range(columns)]}],
    }


def _column(number: int) -> dict[str, Any]:
    column: dict[str, Any] = {
        "name": f"column_{number:04d}",
        "required": bool(number % 2),
        "quality": [{"name": "nulls", "metric": "nullValues", "unit": "percent", "mustBeLessThan": 1 + number % 50}],
    }
    if number % 3:
        limits = {"minimum": 0, "maximum": 100 + number}
        return {**column, "logicalType": "number", "physicalType": "DOUBLE", "logicalTypeOptions": limits}
    column["enum"] = [{"value": value} for value in ("a", "b", "c")]
    return {**column, "logicalType": "string", "physicalType": "VARCHAR", "logicalTypeOptions": {"maxLength": 100}}


def looser(odcs: dict[str, Any]) -> dict[str, Any]:
    """The same contract with a difference in every column."""
    other = copy.deepcopy(odcs)
    for column in other["schema"][0]["properties"]:
        column["required"] = not column["required"]
        column["quality"][0]["mustBeLessThan"] += 1
        column["logicalTypeOptions"]["maximum" if column["logicalType"] == "number" else "maxLength"] += 1
    return other


def milliseconds(work: Callable[[], object]) -> float:
    """Of one core, the best of five."""
    found = []
    for _ in range(5):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found) * 1000


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.contract_compatibility", description=__doc__)
    parser.add_argument("--columns", type=int, default=500)
    columns = parser.parse_args().columns
    odcs = document(columns)
    old, same, new = (
        Revision("wide", contract_digest(written, ()), parse(written))
        for written in (odcs, copy.deepcopy(odcs), looser(odcs))
    )
    spec = DataContractSpec.model_validate({"odcs": odcs, "roles": ["TrainingInput", "ServingInput"]})
    known = {"wide": Contract("wide", spec, DataContractStatus(), new)}
    used = frozenset(f"wide.column_{number:04d}" for number in range(0, columns, 2))
    version = Bound("v2", trained_on=(old,), uses=used)
    print(f"{columns} columns: milliseconds of one core")
    print(f"  read the document                       {milliseconds(lambda: parse(odcs)):8.1f}")
    print(f"  digest                                  {milliseconds(lambda: contract_digest(odcs, ())):8.1f}")
    print(f"  compare, nothing differs                {milliseconds(lambda: changes(old, same)):8.1f}")
    compared = milliseconds(lambda: changes(old, new))
    print(f"  compare, {len(changes(old, new)):5d} differences              {compared:8.1f}")
    found = release_findings(version, None, known, _NOW)
    judged = milliseconds(lambda: release_findings(version, None, known, _NOW))
    print(f"  judge a release, {len(found):5d} findings         {judged:8.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
