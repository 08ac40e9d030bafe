"""Run by the reference CLI's Python: grades pairs of contracts from standard input, in one process for all of them."""

import json
import sys

from datacontract.data_contract import DataContract  # type: ignore[import-not-found,unused-ignore]
from datacontract.model.breaking import Perspective  # type: ignore[import-not-found,unused-ignore]
from open_data_contract_standard.model import OpenDataContractStandard as Standard

PERSPECTIVES = (Perspective.CONSUMER, Perspective.PRODUCER)


def grade(old: dict[str, object], new: dict[str, object]) -> dict[str, object]:
    """The worst level from each perspective, and what it is made of."""
    before, after = (DataContract(data_contract=Standard.model_validate(document)) for document in (old, new))
    found: dict[str, object] = {}
    for perspective in PERSPECTIVES:
        entries = before.breaking(after, perspective=perspective).entries
        levels = {entry.level.value for entry in entries}
        found[perspective.value] = next((level for level in ("error", "warning") if level in levels), "none")
        found["entries"] = [f"{e.rule_id} {e.direction and e.direction.value} {e.path}" for e in entries]
    return found


if __name__ == "__main__":
    json.dump([grade(pair["old"], pair["new"]) for pair in json.load(sys.stdin)], sys.stdout)
