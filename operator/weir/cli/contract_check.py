"""`weir contract check`: whether data keeps a contract, in the cluster or on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from weir.cli import completion
from weir.cli.failure import REFUSED, TIMED_OUT, UNREADABLE, WAITS, CliError
from weir.cli.options import Place, command, length

if TYPE_CHECKING:
    from weir.cli.cluster import Cluster
    from weir.cli.contract_file import ContractFile
    from weir.cli.following import Following
    from weir.cli.printing import Printer
    from weir.runtime.resources import KubeObject

_SILENT_SECONDS = 8.0
"""After so long a check that nobody has taken up is worth a word."""


@command(Place)
def check(
    place: Place,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="DataContract in the cluster.",
            autocompletion=completion.contracts,
            show_default=False,
        ),
    ] = "",
    file: Annotated[
        str, typer.Option("--file", "-f", help="Check here, without a cluster: file with the contract.")
    ] = "",
    chosen: Annotated[
        str,
        typer.Option(
            "--name", metavar="CONTRACT", help="With -f: name of the DataContract, if the file holds several."
        ),
    ] = "",
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SERVER/]TABLE=PATH",
            help="With -f: files of a table (a file, a folder, or a pattern). Repeatable. Without a SERVER the result "
            "calls it `local`.",
        ),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVER",
            help="Only this server. Repeatable; all by default. With -f: a database of the contract, whose login is in "
            "SERVER_USERNAME and SERVER_PASSWORD.",
        ),
    ] = None,
    mlmodel: Annotated[
        str,
        typer.Option(
            metavar="MLMODEL",
            help="With -f: compare with the signature in an MLmodel file, or with the JSON of GET /v2/models/NAME.",
        ),
    ] = "",
    role: Annotated[
        str,
        typer.Option(metavar="request|response", help="With --mlmodel: what the contract describes; by its roles."),
    ] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the check to its result.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to wait, such as 90s or 30m; 0s is for ever.")] = "30m",
) -> int:
    """Check data against a contract, and show every rule that did not pass.

    With a NAME a pod checks the servers that the DataContract names; with -f and --data this machine checks files.
    Exit codes: 0 the data keeps the contract (maybe with warnings), 1 it does not, 2 wrong usage or unreadable,
    3 timed out, 4 it cannot be told.
    """
    if name and file:
        raise CliError(
            f"{name} is a DataContract in the cluster and -f {file} one in a file: give one of the two. To choose a "
            f"contract in the file write --name {name}"
        )
    if chosen and not file:
        raise CliError(
            "--name chooses a contract in a file: give it with -f FILE; for one in the cluster write "
            f"`contract check {chosen}`"
        )
    if not name and not file:
        raise CliError("name a DataContract in the cluster, or give a file with -f")
    if mlmodel:
        if not file:
            raise CliError("--mlmodel needs the contract in a file: -f FILE")
        return _signature(place.printer, _sound(file, chosen), mlmodel, role)
    if file:
        return _here(place.printer, _sound(file, chosen), data or [], server or [])
    if data:
        raise CliError("--data is for a check on this machine: give the contract with -f FILE")
    return _in_cluster(place, name, server or [], wait=wait, timeout=timeout)


def _sound(file: str, name: str) -> ContractFile:
    """The contract in the file, if `weir lint` has nothing against it."""
    from weir.cli.contract_file import read, refuse_what_lint_refuses

    contract = read(file, name)
    refuse_what_lint_refuses(contract)
    return contract


def _signature(printer: Printer, contract: ContractFile, mlmodel: str, role: str) -> int:
    from weir.cli.contract_results import show_findings
    from weir.contract.loading import UnreadableText, load_yaml
    from weir.contract.signature import SignatureError, metadata_findings, mlmodel_signature

    side = role or ("response" if "Prediction" in (contract.spec.get("roles") or ()) else "request")
    if side not in ("request", "response"):
        raise CliError(f"--role {role} is neither request nor response")
    try:
        content = load_yaml(Path(mlmodel).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UnreadableText) as error:
        raise CliError(f"{mlmodel}: {getattr(error, 'strerror', None) or error}", UNREADABLE) from None
    if not isinstance(content, dict):
        raise CliError(f"{mlmodel} is neither an MLmodel file nor metadata of the Open Inference Protocol")
    try:
        metadata = content if "inputs" in content or "outputs" in content else mlmodel_signature(content)
    except SignatureError as error:
        raise CliError(f"{mlmodel}: {error}") from None
    revision = contract.revision()
    request, response = (revision, None) if side == "request" else (None, revision)
    what = f"what the model {'takes' if request else 'answers'}"
    return show_findings(printer, metadata_findings(metadata, request, response), what)


def _here(printer: Printer, contract: ContractFile, given: Sequence[str], servers: Sequence[str]) -> int:
    from weir.cli.contract_local import left_out, parse_data, planned, result
    from weir.cli.contract_results import show

    for warning in contract.warnings:
        printer.note(f"warning: {warning}")
    data = parse_data(given, contract.revision().document)
    if servers and data:
        data = [d for d in data if d.server in servers]
    if not data and not servers:
        raise CliError("say which files to check: --data TABLE=PATH, or --server NAME for a server of the contract")
    if data:
        for told in left_out(contract, data):
            printer.note(f"not checked here: {told}")
    with planned(contract, data, servers) as plan:
        status = result(plan)
    checked = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "ContractCheck",
        "spec": {"contractRef": {"name": contract.name}, "servers": list(plan.servers), "purpose": "Request"},
        "status": status.to_dict(),
    }
    return show(printer, checked)


def _in_cluster(place: Place, name: str, servers: Sequence[str], *, wait: bool, timeout: str) -> int:
    from weir.cli import cluster
    from weir.cli.contract_cluster import contract

    patience = Patience(length(timeout, "--timeout"), timeout)

    async def work(there: Cluster) -> int:
        found = await contract(there, name)
        _known_servers(found, servers)
        made = await _create(there, name, servers)
        made_name = made["metadata"]["name"]
        place.printer.note(f"asked for a check of {name}: contractcheck {made_name}")
        if not wait:
            _print_name(place.printer, made)
            return 0
        return await _follow(place.printer, there, made, patience)

    return cluster.run(place.where, work)


def _known_servers(contract: KubeObject, wanted: Sequence[str]) -> None:
    known = [str(s.get("name")) for s in (contract.get("spec") or {}).get("servers") or ()]
    if not known:
        name = contract["metadata"]["name"]
        raise CliError(f"{name} names no servers (spec.servers), so there is no data to check")
    for server in wanted:
        if server not in known:
            raise CliError(f"the contract has no server {server!r}; it has {', '.join(known)}")


async def _create(there: Cluster, name: str, servers: Sequence[str]) -> KubeObject:
    from weir.api.contractcheck import ContractCheckSpec
    from weir.cli.failure import told
    from weir.runtime.errors import ApiError, NotFound
    from weir.runtime.resources import CONTRACT_CHECKS

    wanted: dict[str, Any] = {"contractRef": {"name": name}, "servers": list(servers) or None, "purpose": "Request"}
    spec = ContractCheckSpec.model_validate(wanted)
    body = {
        "apiVersion": CONTRACT_CHECKS.api_version,
        "kind": CONTRACT_CHECKS.kind,
        "metadata": {"generateName": f"{name[:40]}-ask-", "namespace": there.namespace},
        "spec": {key: value for key, value in spec.to_dict().items() if value not in ("", None)},
    }
    try:
        return await there.client.create(CONTRACT_CHECKS, body)
    except NotFound:
        raise CliError("this cluster's Weir does not know ContractChecks; upgrade its chart and CRDs") from None
    except ApiError as error:
        refused = told(error)
        raise CliError(str(refused), REFUSED if error.terminal else refused.code) from error


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds (None: for ever) and as it was written."""

    seconds: float | None
    text: str


@dataclass(frozen=True)
class Progress:
    """Where a check stands. ``over``: how it ended, None while it runs; ``words``: for people."""

    words: str
    over: Literal["Result", "NoResult", "Gone"] | None = None


@dataclass
class Look:
    """Works out where a check stands; the operator has a while to say why a pod failed."""

    started: float
    failed: float | None = None

    def __call__(self, check: KubeObject | None, job: KubeObject | None, contract: KubeObject | None) -> Progress:
        """From the objects as they are now."""
        if check is None:
            return Progress("the check was deleted", "Gone")
        if (check.get("status") or {}).get("verdict"):
            return Progress("done", "Result")
        mine = check["metadata"]["name"]
        entries = ((contract or {}).get("status") or {}).get("checks") or ()
        entry: KubeObject = next((e for e in entries if e.get("check") == mine), {})
        if entry.get("finishedAt"):
            return Progress(f"{entry.get('reason')}: {entry.get('message') or 'no result'}", "NoResult")
        if job is None:
            return Progress(self._untaken(entry))
        return self._job(mine, job, entry)

    def _untaken(self, entry: KubeObject) -> str:
        if entry.get("message") and entry.get("reason") != "Queued":
            return str(entry["message"])
        if time.monotonic() - self.started > _SILENT_SECONDS and not entry:
            hint = "is the operator running? See: kubectl get pods -A -l app.kubernetes.io/name=weir"
            return f"nobody has taken up the check yet; {hint}"
        return "waiting for its turn" if entry else "waiting for the operator"

    def _job(self, mine: str, job: KubeObject, entry: KubeObject) -> Progress:
        status = job.get("status") or {}
        for condition in status.get("conditions") or ():
            if condition.get("type") == "Failed" and condition.get("status") == "True":
                self.failed = self.failed if self.failed is not None else time.monotonic()
                why = condition.get("message") or condition.get("reason") or "no reason given"
                said = f"the pod failed: {why}; see: kubectl logs job/{mine}"
                return Progress(said, "NoResult" if time.monotonic() - self.failed > _SILENT_SECONDS else None)
        if entry.get("message") and entry.get("reason") not in ("Running", "Queued"):
            return Progress(str(entry["message"]))
        if int(status.get("ready") or 0):
            return Progress("running")
        if int(status.get("active") or 0):
            return Progress("waiting for the pod to start")
        return Progress("waiting for the result" if int(status.get("succeeded") or 0) else "the job is pending")


async def _follow(printer: Printer, there: Cluster, made: KubeObject, patience: Patience) -> int:
    from weir.cli.contract_results import show
    from weir.cli.following import Followed, Following
    from weir.cli.watching import stay
    from weir.runtime.resources import CONTRACT_CHECKS, DATA_CONTRACTS, JOBS

    name, contract = made["metadata"]["name"], made["spec"]["contractRef"]["name"]
    space, look = there.namespace, Look(time.monotonic())
    wanted = [
        Followed(CONTRACT_CHECKS, space, name),
        Followed(JOBS, space, name, optional=True),
        Followed(DATA_CONTRACTS, space, contract, optional=True),
    ]

    def state(following: Following) -> Progress:
        return look(
            following.find(CONTRACT_CHECKS, name), following.find(JOBS, name), following.find(DATA_CONTRACTS, contract)
        )

    async with Following(there.client, wanted) as following:
        over = await stay(
            following,
            lambda: state(following),
            _Told(printer),
            lambda p: p if p.over is not None else None,
            patience.seconds,
        )
        if over is None:
            printer.note(
                f"not within {patience.text}: {state(following).words}; see: kubectl get contractchecks.weir.dev {name}"
            )
            return TIMED_OUT
        if over.over == "Result":
            found = following.find(CONTRACT_CHECKS, name)
            assert found is not None, "a result is read from the object"
            return show(printer, found)
        return _without_result(printer, made, over)


def _without_result(printer: Printer, made: KubeObject, over: Progress) -> int:
    """A check without a result is Unknown, never a pass."""
    if printer.text:
        typer.echo(f"Unknown: {over.words}")
    else:
        printer.data({**made, "status": {"verdict": "Unknown", "message": over.words}})
    return WAITS


def _print_name(printer: Printer, made: KubeObject) -> None:
    if printer.text:
        typer.echo(made["metadata"]["name"])
    else:
        printer.data(made)


class _Told:
    """Tells each state of a check once."""

    def __init__(self, printer: Printer) -> None:
        self._printer, self._told = printer, ""

    def paint(self, state: Progress, trouble: str) -> None:
        """Show it; ``trouble``: why it may be old."""
        text = trouble or ("" if state.over is not None else state.words)
        if text and text != self._told:
            self._printer.note(text)
            self._told = text
