"""Entry point: `python -m digits serve|load|store|train`; everything but `train` is set up by environment variables."""

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one part of the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="digits", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve one model version (Open Inference Protocol V2 over HTTP)")
    commands.add_parser("load", help="send live traffic from held-out rows at a steady rate")
    commands.add_parser("store", help="serve the artifact files over HTTP")
    train = commands.add_parser("train", help="train every version and write its artifact")
    train.add_argument("--out", type=Path, required=True, help="directory to write the artifacts to")
    arguments = parser.parse_args(argv)
    # Each part is imported only when it runs: the serving image has no scikit-learn, and the store needs no numpy.
    if arguments.command == "serve":
        from . import server

        return server.main()
    if arguments.command == "load":
        from . import load

        return load.main()
    if arguments.command == "store":
        from . import store

        return store.main()
    from . import train as training

    return training.main(arguments.out)


if __name__ == "__main__":
    sys.exit(main())
