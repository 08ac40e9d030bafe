"""Guardrails of agents: whether the admission policies of the chart are in force, exactly as the chart has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from weir.runtime.clock import Clock, SystemClock
from weir.runtime.errors import ApiError, Forbidden, NotFound
from weir.runtime.resources import KubeObject, Resource
from weir.workload.writes import bounded

_log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks at the policies."""

LASTS = 180.0
"""Seconds that an answer holds while the API server gives no new one."""

_AGAIN = 5.0
"""Seconds after which a look that got no answer is repeated."""

_PATIENCE = 3
"""Looks without an answer, at the start, after which it is decided without one."""

_GROUP = "admissionregistration.k8s.io"
_PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
}

_DEFAULTS: Mapping[str, Any] = {"matchPolicy": "Equivalent", "failurePolicy": "Fail", "scope": "*"}
"""What the API server fills in; said or not, it means the same. So does an empty list, map or text."""

_BY_NAME = "kubernetes.io/metadata.name"
"""Label that every namespace has; nobody can change it."""

_UNCHECKED = "it is being checked whether the admission policies are in force"
_UNKNOWN = "the operator was not told which admission policies to expect; install it with the chart (WEIR_GUARDRAILS)"
_OFF = "the admission policies for agents are not installed; switch them on in the chart (admission.agents)"


class Reading(Protocol):
    """What is needed of the API client."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """One object."""
        ...


@dataclass(frozen=True)
class Expected:
    """A policy or binding as the chart renders it."""

    resource: Resource
    name: str
    spec: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.name}"


def read_expected(text: str) -> tuple[Expected, ...]:
    """The policies and bindings in YAML documents. Raises ValueError where a document is something else."""
    found = []
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {error}") from None
    for document in documents:
        group, _, version = str(document.get("apiVersion", "")).partition("/")
        plural = _PLURALS.get(str(document.get("kind")))
        if group != _GROUP or plural is None:
            raise ValueError(f"{document.get('kind')} of {document.get('apiVersion')} is no admission policy")
        resource = Resource(_GROUP, version, plural, document["kind"], namespaced=False)
        found.append(Expected(resource, document["metadata"]["name"], document.get("spec") or {}))
    return tuple(found)


def for_agents(expected: Sequence[Expected]) -> bool:
    """Whether one of them looks at AgentPolicies: then the chart's policies for agents are switched on."""
    kinds = ((e.spec.get("paramKind") or {}).get("kind") for e in expected)
    return "AgentPolicy" in kinds


def alteration(policy: Expected, live: Mapping[str, Any], namespaces: Sequence[str]) -> str | None:
    """Path of the first field in which a live policy says something else than the chart's; None where it does not.

    A binding may be limited to all the namespaces that are served (empty: the whole cluster), and not to fewer.
    """
    wanted: Mapping[str, Any] = policy.spec
    named = narrowed_to(live)
    if named is not None and namespaces and named >= set(namespaces):
        wanted, live = _anywhere(wanted), _anywhere(live)
    return difference(wanted, live)


def difference(wanted: Any, live: Any, path: str = "spec") -> str | None:
    """Path of the first difference that means something; None where there is none."""
    wanted, live = _plain(wanted), _plain(live)
    if {type(wanted), type(live)} <= {dict, type(None)}:
        wanted, live = wanted or {}, live or {}
        both = ((key, wanted.get(key), live.get(key)) for key in sorted({*wanted, *live}))
        found = (difference(one, other, f"{path}.{key}") for key, one, other in both)
        return next((where for where in found if where is not None), None)
    if isinstance(wanted, list) and isinstance(live, list):
        if len(wanted) != len(live):
            return path
        pairs = enumerate(zip(wanted, live, strict=True))
        found = (difference(one, other, f"{path}[{place}]") for place, (one, other) in pairs)
        return next((where for where in found if where is not None), None)
    return None if wanted == live else path


def narrowed_to(binding: Any) -> frozenset[str] | None:
    """Namespaces that a binding is limited to by their names; None where it is not, or by something else too."""
    selector = ((binding or {}).get("matchResources") or {}).get("namespaceSelector") or {}
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    allowed = [{labels[_BY_NAME]}] if labels.keys() == {_BY_NAME} else []
    for expression in expressions:
        if (expression.get("key"), expression.get("operator")) != (_BY_NAME, "In"):
            return None
        allowed.append(set(expression.get("values") or ()))
    if not allowed or labels.keys() - {_BY_NAME}:
        return None
    return frozenset(set.intersection(*allowed))


def _anywhere(binding: Any) -> Any:
    """A binding as it would be for all namespaces."""
    matched = {key: value for key, value in binding.get("matchResources", {}).items() if key != "namespaceSelector"}
    return {**binding, "matchResources": matched}


def _plain(value: Any) -> Any:
    """Without what the API server may have filled in."""
    if isinstance(value, dict):
        said = ((key, inner) for key, inner in value.items() if _DEFAULTS.get(key) != inner)
        return {key: inner for key, inner in said if _plain(inner) not in (None, {}, [], "")} or None
    return value if value not in ([], "") else None


class GuardrailCheck:
    """Looks every minute. ``woken`` is called when the answer changes. All methods belong to the event loop."""

    def __init__(
        self,
        client: Reading,
        expected: Path | None,
        woken: Callable[[], None],
        *,
        shown: Callable[[bool], None] = lambda _: None,
        namespaces: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        """``expected``: file with the policies as the chart renders them, read anew each time.

        ``shown`` is told of each answer whether all that the chart installs is in place. ``namespaces``: that are
        served, empty for all.
        """
        self._client = client
        self._path = expected
        self._namespaces = tuple(namespaces)
        self._woken = woken
        self._clock = clock if clock is not None else SystemClock()
        self._problem: str | None = _UNCHECKED
        self._until = 0.0
        self._failures = 0
        self._shown = shown

    @property
    def problem(self) -> str | None:
        """What is wrong with the guardrails, for people; None while they are as installed."""
        return self._problem

    @property
    def settled(self) -> bool:
        """Whether there was an answer since the start, good or bad, or none is to be expected soon."""
        return self._until > 0.0 or self._failures >= _PATIENCE

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await self._clock.sleep(await self.look())

    async def look(self) -> float:
        """Looks once; returns the seconds until the next look."""
        before, again = self._problem, EVERY
        try:
            problem = await self._ask()
        except ApiError as error:
            _log.warning("the admission policies could not be read: %s", error)
            again = _AGAIN
            self._failures += 1
            # An answer that is too old is none: nobody acts on a guess.
            problem = before if self._clock.monotonic() < self._until else bounded(f"{_UNCHECKED}: {error}")
        else:
            self._until = self._clock.monotonic() + LASTS
        self._problem = problem
        if problem != before:
            if problem is not None:
                _log.error("guardrails: %s", problem)
            self._woken()
        return again

    async def _ask(self) -> str | None:
        """The problem, if there is one. Raises ApiError where the API server gives no answer."""
        if self._path is None:
            return _UNKNOWN
        try:
            expected = read_expected(await asyncio.to_thread(self._path.read_text))
        except (OSError, ValueError) as error:
            self._shown(False)
            return bounded(f"the expected admission policies in {self._path} cannot be read: {error}")
        found = [problem async for problem in self._problems(expected)]
        self._shown(not found)
        if not for_agents(expected):
            return _OFF
        if not found:
            return None
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return bounded(f"{found[0]}{more}; install the chart again")

    async def _problems(self, expected: Sequence[Expected]) -> AsyncIterator[str]:
        for policy in expected:
            try:
                live = await self._client.get(policy.resource, policy.name)
            except NotFound:
                yield f"{policy} is missing"
                continue
            except Forbidden:
                yield f"{policy} cannot be read: the operator's role does not allow it"
                continue
            where = alteration(policy, live.get("spec") or {}, self._namespaces)
            if where is not None:
                yield f"{policy} was altered at {where}"
