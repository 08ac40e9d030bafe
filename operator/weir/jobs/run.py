"""Runs a plan: every rule of a contract on every server, to one result. Knows nothing of a cluster."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from weir.api.base import seconds
from weir.api.contractcheck import ContractCheckStatus, ServerResult
from weir.api.datacontract import Environment, Server
from weir.api.datacontractstatus import CheckVerdict
from weir.contract.document import DocumentError, parse
from weir.contract.model import Column, Document, Table
from weir.contract.profile import Profile, TableProfile

from . import ages, checks, leakage, metrics, parity, quality
from .ask import Deadline, ask
from .checks import Look
from .outcome import (
    MAYBE_DAMAGED,
    WORST_FIRST,
    Check,
    NoTable,
    Outcome,
    Report,
    Undecidable,
    Unreadable,
    maybe_damaged,
    unknown,
)
from .plan import Plan
from .profiling import profile_table
from .tables import Servers, Source, no_file

MAX_RESULTS = 200
_SHARE_OF_TIME = 0.9
"""Share of engine.timeout that checks may take: the rest is for writing the result before the pod is stopped."""
_AGAIN = 1.0
"""Seconds between two interruptions once the time is over."""
_MAX_PROFILED = 256


def run(
    plan: Plan,
    *,
    environment: Mapping[str, str] | None = None,
    scratch: Path | None = None,
    wall: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> ContractCheckStatus:
    """The result of a plan. Never raises: what cannot be checked is Unknown, with the reason.

    Args:
        plan: what to check.
        environment: where credentials of servers are; by default the process's own.
        scratch: folder for what does not fit into memory; by default the system's temporary folder.
        wall: Unix time, for startedAt and finishedAt.
        clock: monotonic seconds, for the time limit.
    """
    started = wall()
    deadline = Deadline(clock() + _SHARE_OF_TIME * seconds(plan.spec.engine.timeout), clock)
    try:
        document = parse(plan.odcs)
    except DocumentError as error:
        return _status(plan, [], started=started, finished=wall(), problem=f"the document cannot be read: {error}")
    folder = scratch or Path(tempfile.gettempdir())
    with Servers(plan, document, os.environ if environment is None else environment, folder) as servers:
        with _stopped_in_time(servers, deadline):
            task = _Run(plan, document, servers, deadline)
            task.everything()
        return _status(plan, task.reports, started=started, finished=wall(), profile=task.profile())


@contextmanager
def _stopped_in_time(servers: Servers, deadline: Deadline) -> Iterator[None]:
    left = max(0.0, deadline.at - deadline.clock())
    servers.limit(left)
    done = threading.Event()

    def stop() -> None:
        # Again and again: a query may begin in the moment after the first interruption.
        wait = left
        while not done.wait(wait):
            with suppress(Exception):
                servers.interrupt()
            wait = _AGAIN

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Run:
    """The state of one run: what each server gave so far."""

    def __init__(self, plan: Plan, document: Document, servers: Servers, deadline: Deadline) -> None:
        self._plan = plan
        self._document = document
        self._servers = servers
        self._deadline = deadline
        self.reports: list[Report] = []
        self._tables: dict[str, TableProfile] = {}

    def everything(self) -> None:
        """Checks every server, then what needs two of them."""
        spec = self._plan.spec
        chosen = [s for s in spec.servers or () if not self._plan.servers or s.name in self._plan.servers]
        profiled = self._profiled_server(chosen)
        for server in chosen:
            report = Report(server.name)
            self.reports.append(report)
            self._server(server, report, profiled is not None and server.name == profiled.name)
        self._two_sided(chosen)

    def profile(self) -> str:
        """The profile as JSON, empty without one."""
        return Profile(self._tables, contract=self._plan.digest).to_json() if self._tables else ""

    def _server(self, server: Server, report: Report, profiled: bool) -> None:
        found: dict[str, Any] = {}
        datasets: list[str] = []
        known = {environment.name: environment for environment in self._plan.spec.environments or ()}
        for table in self._document.tables:
            seen = without(table, known.get(server.environment or ""))
            try:
                source = self._servers.source(server.name, seen)
            except NoTable:
                report.outcomes.append(_no_table(table))
                continue
            except Unreadable as error:
                report.outcomes.append(_no_data(table, str(error)))
                continue
            except Exception as error:
                report.outcomes.append(unknown(Outcome("table", table=table.name), error))
                continue
            datasets.append(source.dataset)
            self._table(server, seen, source, report, found)
            if profiled:
                self._profile(seen, source, report)
        report.outcomes.extend(metrics.judge(self._plan.spec.metric_rules or (), found))
        report.dataset = ",".join(dict.fromkeys(text for text in datasets if text))[:253]
        report.rows = sum(int(values.get(_ROWS, 0)) for values in found.values())

    def _table(self, server: Server, table: Table, source: Source, report: Report, found: dict[str, Any]) -> None:
        try:
            outcomes = list(self._outcomes(server, table, source, found))
        except Exception as error:
            outcomes = [unknown(Outcome("table", table=table.name), error)]
        if any(MAYBE_DAMAGED in outcome.message for outcome in outcomes) and _damaged(source, self._deadline):
            # One problem, not one for each rule.
            broken = [outcome for outcome in outcomes if outcome.verdict in ("Fail", "Warn")]
            outcomes = [*broken, _no_data(table, no_file(""))]
        report.outcomes.extend(outcome for outcome in outcomes if outcome.rule != metrics.METRIC)

    def _outcomes(self, server: Server, table: Table, source: Source, found: dict[str, Any]) -> Iterator[Outcome]:
        spec = self._plan.spec
        values = metrics.values_of(table.name, found)
        yield from ask(source.table, [_row_count(source, table, values)], self._deadline)
        look = self._look(table, source, int(values.get(_ROWS, 0)))
        if _ROWS in values and not values[_ROWS] and not quality.may_be_empty(table):
            yield _no_rows(table)
        grows = server.name not in ages.snapshots(spec)
        rules = [
            *checks.checks(look),
            *quality.checks(look, self._document, lambda name: self._other(server, name)),
            *(ages.checks(look, spec, self._document, self._plan.now) if grows else ()),
            *metrics.checks(look, spec.metric_rules or (), spec.engine.exact, found),
        ]
        yield from ask(look.rows, rules, self._deadline, look.sampled)

    def _other(self, server: Server, name: str) -> Source:
        table = self._document.table(name)
        if table is None:
            raise Undecidable(f"the document has no table {name!r}")
        return self._servers.source(server.name, table)

    def _look(self, table: Table, source: Source, rows: int) -> Look:
        engine = self._plan.spec.engine
        backend = source.table.get_backend()
        mapper = backend.compiler.type_mapper
        look = Look(table, source, count=rows, samples=engine.failing_samples, mapper=mapper)
        if engine.sampling is None or rows <= engine.sampling.rows:
            return look
        part = source.table.sample(engine.sampling.rows / rows, method="row", seed=engine.sampling.seed)
        return replace(look, source=replace(source, table=part), sampled=True)

    def _profiled_server(self, chosen: Sequence[Server]) -> Server | None:
        """The one server whose profile is kept: the reference's for a reference, else the first other one."""
        reference = self._plan.spec.reference
        named = reference.server if reference is not None else None
        fitting = [s for s in chosen if (s.name == named) == (self._plan.purpose == "Reference")]
        return next(iter(fitting or chosen), None)

    def _profile(self, table: Table, source: Source, report: Report) -> None:
        columns = self._watched(table)
        if not columns:
            return
        try:
            self._deadline.left()
            reference = Profile.from_dict(self._plan.reference) if self._plan.reference else Profile()
            self._tables[table.name] = profile_table(
                source.rows,
                columns,
                reference=reference.tables.get(table.name),
                exact=self._plan.spec.engine.exact,
            )
        except Exception as error:
            report.outcomes.append(unknown(Outcome("profile", table=table.name), error))

    def _watched(self, table: Table) -> list[Column]:
        if self._plan.purpose == "Reference":
            return list(table.columns[:_MAX_PROFILED])
        spec = self._plan.spec
        paths = {drift.property for drift in spec.drift or () if drift.source == "Checks"}
        if spec.parity is not None:
            paths |= {rule.property for rule in spec.parity.profile or ()}
        return [column for column in table.columns if f"{table.name}.{column.name}" in paths]

    def _two_sided(self, chosen: Sequence[Server]) -> None:
        """Rules over two servers belong to the one that is not the training side, when it is checked."""
        spec = self._plan.spec
        reports = {report.server: report for report in self.reports}
        checked = {server.name for server in chosen}
        for rule in spec.leakage or ():
            place = next((name for name in (rule.other, rule.training) if name in checked), None)
            if place is not None:
                found = leakage.outcomes([rule], self._document, self._servers, self._deadline)
                reports[place].outcomes.extend(found)
        if spec.parity is not None:
            sides = (spec.parity.serving, spec.parity.training)
            place = next((name for name in sides if name in checked), None)
            if place is not None:
                compared = parity.outcomes(spec.parity, self._document, self._servers, self._deadline)
                reports[place].outcomes.extend(compared)


_ROWS = "rowCount"
FILE = "file"
"""Rule of an outcome that says that the data itself cannot be read."""


def _damaged(source: Source, deadline: Deadline) -> bool:
    """Whether not every value can be read."""
    if not source.in_pod:
        return False
    try:
        deadline.left()
        rows = source.rows
        rows.aggregate(**{f"c{n}": rows[name].hash().max() for n, name in enumerate(rows.columns)}).to_pyarrow()
    except Exception as error:
        return maybe_damaged(error)
    return False


def _row_count(source: Source, table: Table, values: dict[str, Any]) -> Check:
    def judge(answers: Sequence[Any]) -> Outcome:
        values[_ROWS] = int(answers[0] or 0)
        return Outcome(metrics.METRIC, table=table.name)

    return Check(Outcome("table", table=table.name), judge, (source.table.count(),))


def _no_rows(table: Table) -> Outcome:
    """Rules hold of no rows whatever they say, so their verdicts say nothing of the data."""
    return Outcome(
        "table",
        "Unknown",
        table.name,
        expected="at least one row",
        observed="0 rows",
        message=f"{table.name} has no rows, so nothing can be said of them; if it may be empty, say so with a quality "
        "rule of the table: metric rowCount, mustBeGreaterOrEqualTo 0",
    )


def _no_data(table: Table, why: str) -> Outcome:
    return Outcome(FILE, "Unknown", table.name, message=f"{table.name}: {why}")


def _no_table(table: Table) -> Outcome:
    return Outcome(
        "table",
        "Fail",
        table.name,
        expected="the table exists",
        observed="there is no such table",
        message=f"{table.name}: the table {table.physical!r} is missing on the server",
    )


def without(table: Table, environment: Environment | None) -> Table:
    """The table without the properties that are absent in the environment."""
    if environment is None or not environment.exclude:
        return table
    excluded = set(environment.exclude)

    def kept(prefix: str, columns: Sequence[Column]) -> tuple[Column, ...]:
        return tuple(
            replace(column, properties=kept(f"{prefix}.{column.name}", column.properties))
            for column in columns
            if f"{prefix}.{column.name}" not in excluded
        )

    return replace(table, columns=kept(table.name, table.columns))


def _status(
    plan: Plan, reports: Sequence[Report], *, started: float, finished: float, profile: str = "", problem: str = ""
) -> ContractCheckStatus:
    order = {verdict: place for place, verdict in enumerate(WORST_FIRST)}
    broken = [(report, o) for report in reports for o in report.outcomes if o.verdict != "Pass"]
    broken.sort(key=lambda pair: order[pair[1].verdict])
    verdicts = [report.worst() for report in reports]
    verdict: CheckVerdict = min(verdicts, key=lambda v: order[v]) if verdicts and not problem else "Unknown"
    passed = sum(report.count("Pass") for report in reports)
    message = problem or (broken[0][1].message if broken else f"{passed} rules passed")
    if not reports and not problem:
        message = "no server was checked: name one under spec.servers"
    return ContractCheckStatus(
        digest=plan.digest,
        verdict=verdict,
        message=message[:1024],
        started_at=started,
        finished_at=max(started, finished),
        servers=[_server_result(report) for report in reports[:16]],
        results=[outcome.result(report.server) for report, outcome in broken[:MAX_RESULTS]],
        profile=profile,
    )


def _server_result(report: Report) -> ServerResult:
    return ServerResult(
        name=report.server,
        verdict=report.worst(),
        passed=report.count("Pass"),
        warned=report.count("Warn"),
        failed=report.count("Fail"),
        unknown=report.count("Unknown"),
        rows=report.rows,
        dataset=report.dataset,
    )
