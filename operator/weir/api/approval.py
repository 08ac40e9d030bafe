"""Approvals: people whose consent a release needs before it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from weir.api.base import ApiModel, Count, Duration, Label, Rule, ShortText, Time

CHANGED_BY = "weir.dev/changed-by"
"""Annotation on a Rollout: users who changed its spec since ``versionRef`` last changed, kept by admission."""

AUTHOR = "weir.dev/author"
"""Annotation on a Rollout: authors of the change as its Git repository names them, separated by commas."""

PROMOTE = 101
"""Threshold of an approval before the promotion: beyond every weight."""


class Approver(ApiModel):
    """Who may consent; exactly one."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("has(self.group) != has(self.verb)", "set exactly one of `group` and `verb` in `from`"),
    )
    group: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="group, as the API server knows it, that an approver must belong to."
    )
    verb: Label | None = Field(
        default=None,
        description="verb on this Rollout that an approver must hold in RBAC, such as approve; give it by a Role.",
    )

    def __str__(self) -> str:
        """For people."""
        return f"group {self.group}" if self.group is not None else f"holders of the verb {self.verb}"


class Approval(ApiModel):
    """A consent that a release needs. Who asked for the release or changed it cannot give it."""

    name: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="name, unique in the Rollout; by default what it comes before, such as Traffic(25)."
    )
    before: Annotated[str, Field(max_length=16)] = Field(
        description="before: Traffic(N) is before the candidate gets N percent or more, Switch before it gets all "
        "traffic, Promote before the promotion is final.",
        pattern="^(Traffic[(](100|[1-9][0-9]?)[)]|Switch|Promote)$",
    )
    approvers: Approver = Field(alias="from", description="from: who may consent.")
    quorum: Annotated[int, Field(ge=1, le=10)] = Field(
        default=1, description="quorum: how many different people must consent."
    )
    expires_after: Duration = Field(
        default="24h",
        description="expiresAfter: a release that waits so long is put back, and a consent so old is void.",
    )

    @property
    def key(self) -> str:
        """Its name, or what it comes before."""
        return self.name or self.before

    @property
    def threshold(self) -> int:
        """Percent of requests that the candidate may not reach without it; ``PROMOTE`` for the promotion."""
        if self.before == "Promote":
            return PROMOTE
        return 100 if self.before == "Switch" else int(self.before.removeprefix("Traffic(").removesuffix(")"))


class Consent(ApiModel):
    """One person's approval."""

    by: ShortText = Field(description="by whom.")
    at: Time = Field(description="at: when.")
    request: ShortText = Field(description="request: name of the ActionRequest.")


class ApprovalStatus(ApiModel):
    """Where an approval of the current release stands."""

    name: ShortText = Field(description="name of the approval.")
    before: ShortText = Field(description="before: what waits for it.")
    approvers: ShortText = Field(alias="from", description="from: who may consent, for people.")
    quorum: Count = Field(default=1, description="quorum: how many people must consent.")
    state: Literal["Open", "Waiting", "Granted"] = Field(
        default="Open", description="state: Open (not needed yet), Waiting (the release waits for it) or Granted."
    )
    digest: ShortText = Field(
        description="digest of what is approved: the release, its version, and the plan and gates on its way; a "
        "consent counts only for the digest it names."
    )
    consents: Annotated[list[Consent], Field(max_length=10)] = Field(default_factory=list, description="consents.")
    since: Time | None = Field(default=None, description="since when the release has waited for it.")
    deadline: Time | None = Field(default=None, description="deadline: the release is put back then.")
    used_at: Time | None = Field(
        default=None,
        description="usedAt: when the release went past it; from then on its consents do not grow too old.",
    )
