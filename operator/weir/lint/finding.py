"""What lint says: findings with a place in a file, a code that can be ignored, and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

Path = tuple[str | int, ...]
"""Where in an object: names of fields and positions in lists."""


class Severity(StrEnum):
    """An error is what the API server or the operator refuses; a warning is what probably is not meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a file; both numbers count from 1."""

    line: int = 1
    column: int = 1


CODES: Mapping[str, str] = {
    "yaml": "The text is no YAML, so nothing can be read from it.",
    "duplicate-key": "A key that is given twice: only one of the two values would count.",
    "kind": "No such kind or version in the group weir.dev.",
    "metadata": "Every object needs a name that Kubernetes takes.",
    "unknown-field": "The API server drops a field that it does not know, so it has no effect.",
    "empty-field": "A field without a value counts as absent.",
    "required": "The field must be set.",
    "type": "The value has another type than the field.",
    "value": "The value is not one of those allowed, or out of bounds.",
    "rule": "A rule of the API refuses the object.",
    "odcs": "The document breaks the Open Data Contract Standard, so the operator does not accept it.",
    "odcs-warning": "The document is accepted, but part of it is deprecated or of a later version of the standard.",
    "contract": "The object says something of its document that is not true, so the operator does not accept it.",
    "pattern": "RE2, which checks match with, does not take the pattern, so its rule is Unknown in every check.",
    "waiver": "The waiver accepts nothing: it has expired, or no finding has that ruleId.",
    "stale-pin": "The contract in the files is another revision than the one that the version is pinned to.",
    "unknown-property": "None of the contracts that the version names describes the property.",
    "unknown-reference": "The object that is named is not in the files, though others of its kind are.",
    "duplicate-object": "Two objects with one name: the later one replaces the earlier, or is refused.",
    "same-version": "Two ModelVersions call themselves the same version of the same model.",
    "same-endpoint": "Two Rollouts for one endpoint: the operator refuses the younger one.",
    "approval-step": "The approval is asked for at another weight than it names.",
    "quorum": "So many different people are seldom there in time; then the release is put back.",
    "not-feasible": "At the rate given, good candidates do not pass in time.",
    "image-tag": "A tag can be moved: the version would no longer be what was judged.",
    "no-gates": "Without gates only pods and traffic are watched; a bad model is promoted.",
    "no-comparison": "Gates that compare need stable to serve beside the candidate.",
    "no-effect": "The field has no effect on a gate of this sort.",
    "short-wait": "The gate's maxWait ends before it can have said Pass.",
    "short-bake": "The bake lasts until every gate has looked, so longer than it says.",
    "short-deadline": "Pods may take longer to become ready than the release waits for them.",
    "policy": "The AgentPolicy contradicts itself or its outer bounds, so the operator accepts it not, and no request.",
    "request-label": "Admission finds requests under a permit, and answers to them, by their labels.",
    "unknown-gate": "Evidence of a gate that the Rollout does not have is never there.",
    "never": "A limit that no request can reach, or a permit that nobody can use.",
    "no-budget": "Without a budget the API server counts nothing: an agent in a loop can ask without end.",
    "no-way-back": "An agent that may go on should also be able to stop.",
    "no-fallback": "A release that an agent steers needs somebody who ends it when the agent is gone.",
    "no-rights": "Without a right to create ActionRequests an agent can ask for nothing.",
    "wide-rights": "What RBAC gives beside the permits is no part of the policy.",
    "coarse-share": "Shares by numbers of pods are coarse: the step sends far more than it says.",
}
"""Every code, and why it is worth a finding."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or doubtful.

    ``subject`` is the object (Kind/name), empty for what is wrong with a file. ``hint`` is the way out.
    """

    file: str
    mark: Mark
    severity: Severity
    code: str
    subject: str
    path: str
    message: str
    hint: str = ""

    @property
    def text(self) -> str:
        """Object, field, message and way out, without the place in the file."""
        where = " ".join(part for part in (self.subject, self.path) if part)
        return (f"{where}: " if where else "") + self.message + (f" ({self.hint})" if self.hint else "")

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        fields = asdict(self)
        mark = fields.pop("mark")
        return {"file": fields.pop("file"), **mark, **fields, "severity": self.severity.value}

    def as_error(self) -> Finding:
        """The same as an error."""
        return replace(self, severity=Severity.ERROR)


def path_text(path: Iterable[str | int]) -> str:
    """The path as the API server writes it: ``spec.gates[0].max``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
