"""Entry point: `python -m digits serve|load|store|train|retrain`; servers take their settings from the environment."""

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
    retrain = commands.add_parser("retrain", help="train one version on recent traffic, as a Job in the cluster does")
    retrain.add_argument("--out", type=Path, required=True, help="file to write the artifact to")
    retrain.add_argument("--version", required=True, help="what the version is called")
    retrain.add_argument("--inputs", choices=("heldout", "brighter", "inverted"), default="heldout")
    retrain.add_argument("--job", help="Job to annotate with the artifact's digest and accuracy")
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
    if arguments.command == "retrain":
        from . import retrain as retraining

        return retraining.main(arguments.version, arguments.inputs, arguments.out, arguments.job)
    from . import train as training

    return training.main(arguments.out)


if __name__ == "__main__":
    sys.exit(main())
