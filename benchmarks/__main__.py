"""``python -m benchmarks``: measures, and prints the table (or writes it to a file)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import measure
from benchmarks.report import markdown
from tests.api.harness.lab import Lab


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rollouts", default="1,20,100", help="numbers of concurrent Rollouts, by commas")
    parser.add_argument("--idle", type=float, default=60.0, help="idle seconds to measure")
    parser.add_argument("--out", type=Path, help="file for the report: .md or .json")
    arguments = parser.parse_args()
    counts = [int(part) for part in arguments.rollouts.split(",")]
    results = []
    with tempfile.TemporaryDirectory(prefix="weir-benchmarks-") as directory:
        for count in counts:
            # A cluster for each: what an earlier measurement left behind would count in the next.
            with Lab(Path(directory) / str(count)) as lab:
                results.append(measure(lab, count, arguments.idle, lambda text: print(text, file=sys.stderr)))
    text = markdown(results)
    if arguments.out is None:
        print(text, end="")
    elif arguments.out.suffix == ".json":
        arguments.out.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=2) + "\n")
    else:
        arguments.out.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
