"""`make demo`: chart, manifests, kubectl, the way a user goes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from demo.account import ROLLOUT, Account, condition, exposure
from demo.verdict import verdicts
from testbed import digits, install
from testbed.cluster import ROOT, Cluster, wait_for

SPACE = "digits"
SAMPLES = ROOT / "manifests" / "samples" / "digits"


def main() -> None:
    """Runs the demo; the exit code says whether both models ended where they should."""
    console = Console(width=max(Console().width, 140), soft_wrap=True)
    started = time.monotonic()
    name = os.environ.get("WEIR_CLUSTER", "weir")

    def chapter(text: str) -> None:
        console.print(f"\n[bold blue]{text}[/bold blue]  [dim]({time.monotonic() - started:.0f} s)[/dim]")

    chapter("1. A cluster with a gateway, and two images")
    cluster = install.up(name)

    chapter("2. Weir, from its Helm chart")
    install.install(cluster, say=lambda command: console.print(f"  $ {command}", highlight=False))

    chapter("3. A store with three models, people who use them, and version 1 in service")
    cluster.apply(digits.namespace(SPACE))
    apply(cluster, console, "serving.yaml")
    digits.ready(cluster, SPACE, digits.STORE)
    digests = {v["version"]: v["digest"] for v in digits.index(cluster, SPACE)["versions"]}
    for version in ("v1", "v2", "v3"):
        apply(cluster, console, f"version-{version}.yaml", digests[version])
    apply(cluster, console, "rollout-canary.yaml")
    account = Account(cluster, SPACE, console)
    account.follow(condition("Ready"), timeout=180)
    wait_for("traffic", lambda: exposure(digits.summary(cluster, SPACE), "v1").answered > 20, timeout=60)
    cluster.http(SPACE, digits.LOAD, "http", "reset", method="POST")

    chapter("4. Version 2, a better model: 10 %, 25 %, 50 %, everything")
    release(cluster, console, "digits-v2")
    promoted = account.follow(condition("Ready"), timeout=300)
    good = digits.summary(cluster, SPACE)
    console.print(f"  [green]promoted[/green]: {good['failed']} of {good['sent']} user requests failed on the way")
    console.print(verdicts(promoted["status"]))

    cluster.http(SPACE, digits.LOAD, "http", "reset", method="POST")
    chapter("5. Version 3, trained on corrupted features: wrong, and sometimes failing")
    release(cluster, console, "digits-v3")
    rolled_back = account.follow(condition("Stalled"), timeout=300)
    bad = exposure(digits.summary(cluster, SPACE), "v3")
    console.print(
        f"  [red]rolled back[/red]: v3 answered {bad.answered} live requests, {bad.failed} of them with an error, "
        f"{bad.wrong} wrongly"
    )
    console.print(f"  because: {rolled_back['status']['history'][0]['message']}")
    console.print(verdicts(rolled_back["status"]))

    chapter("6. What is on record")
    records(cluster, console)
    next_steps(console, name)
    outcomes = [entry["outcome"] for entry in rolled_back["status"]["history"]]
    if outcomes[:2] != ["RolledBack", "Promoted"] or good["failed"]:
        sys.exit(f"the demo did not go as it should: {outcomes}, {good['failed']} failed requests")


def apply(cluster: Cluster, console: Console, file: str, digest: str = "") -> None:
    """``kubectl apply`` of a sample. ``digest``: of the artifact that this very image holds, should it differ."""
    path = SAMPLES / file
    objects = list(yaml.safe_load_all(path.read_text()))
    note = ""
    for obj in objects:
        artifact = obj["spec"].get("artifact")
        if digest and artifact and artifact["digest"] != digest:
            artifact["digest"] = digest
            note = "  # with the digest of the model that was trained on this machine"
    console.print(f"  $ kubectl apply -n {SPACE} -f {Path(path).relative_to(ROOT)}{note}", highlight=False)
    cluster.kubectl("apply", "--server-side", "-n", SPACE, "-f", "-", stdin=yaml.safe_dump_all(objects))


def release(cluster: Cluster, console: Console, version: str) -> None:
    """Asks for another version: the one field that a release changes."""
    patch = f'{{"spec": {{"versionRef": {{"name": "{version}"}}}}}}'
    words = ["patch", "rollouts.weir.dev", ROLLOUT, "-n", SPACE, "--type", "merge", "--patch", patch]
    console.print(f"  $ kubectl {' '.join(words[:-1])} '{patch}'", highlight=False)
    cluster.kubectl(*words)


def records(cluster: Cluster, console: Console) -> None:
    """The sealed records of the two releases, decision by decision."""
    found = sorted(cluster.list("rolloutrecords", SPACE), key=lambda record: record["spec"]["release"])
    for record in found[-2:]:
        spec = record["spec"]
        table = Table(
            title=f"{record['metadata']['name']}: {spec['candidate']['label']} {spec['outcome']}", title_justify="left"
        )
        for column in ("at", "stage", "weight", "decision", "why"):
            table.add_column(column, overflow="fold")
        for entry in spec["decisions"]:
            table.add_row(entry["at"][11:19], entry["stage"], f"{entry['weight']} %", entry["reason"], entry["message"])
        console.print(table)


def next_steps(console: Console, name: str) -> None:
    """What to try now."""
    cluster = "" if name == "weir" else f" CLUSTER={name}"
    console.print(
        f"""
[bold]Try next[/bold]
  make shell{cluster}                             a shell with kubectl on this cluster; there:
    kubectl weir status {ROLLOUT} -n {SPACE}          where it stands
    kubectl weir why {ROLLOUT} -n {SPACE}             why, and what would change it
    kubectl weir retry {ROLLOUT} -n {SPACE} -m again   release v3 once more; then watch it:
    kubectl weir status {ROLLOUT} -n {SPACE} --watch
    kubectl weir history {ROLLOUT} -n {SPACE}         every release, and who acted
    kubectl get rolloutrecords -n {SPACE} -o yaml
  make cluster-down{cluster}                      ends the cluster; nothing of it stays but the cache""",
        highlight=False,
    )


if __name__ == "__main__":
    main()
