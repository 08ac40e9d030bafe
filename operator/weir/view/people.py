"""What people have to do with a Rollout: approvals, pauses, requests."""

from __future__ import annotations

from dataclasses import dataclass

from weir.view.read import Moment, Node


@dataclass(frozen=True)
class Consent:
    """One person's consent."""

    by: str
    at: Moment | None = None


@dataclass(frozen=True)
class Approval:
    """An approval that the release needs. ``who``: who may give it."""

    name: str
    before: str
    who: str
    quorum: int
    state: str
    digest: str = ""
    consents: tuple[Consent, ...] = ()
    since: Moment | None = None
    deadline: Moment | None = None

    @property
    def people(self) -> str:
        """Who may consent, as somebody reads it who knows nothing of roles."""
        verb = self.who.removeprefix("holders of the verb ")
        return f"people with the right (RBAC verb) {verb} on this Rollout" if verb != self.who else self.who

    @property
    def missing(self) -> int:
        """How many people are still needed."""
        return max(0, self.quorum - len(self.consents)) if self.state != "Granted" else 0

    @staticmethod
    def of(node: Node) -> Approval:
        """From an entry of ``status.approvals``."""
        return Approval(
            name=node.text("name"),
            before=node.text("before"),
            who=node.text("from"),
            quorum=node.count("quorum") or 1,
            state=node.text("state") or "Open",
            digest=node.text("digest"),
            consents=tuple(Consent(c.text("by"), c.time("at")) for c in node.items("consents")),
            since=node.time("since"),
            deadline=node.time("deadline"),
        )


@dataclass(frozen=True)
class Pause:
    """Somebody paused the Rollout. ``in_spec``: by ``spec.paused``, which has no author.

    ``authority``: what an agent did it under; empty for people.
    """

    since: Moment | None = None
    until: Moment | None = None
    by: str = ""
    reason: str = ""
    in_spec: bool = False
    authority: str = ""


@dataclass(frozen=True)
class Wish:
    """What somebody asked of the running release: to promote it, or to leave ``stage``."""

    by: str
    reason: str = ""
    since: Moment | None = None
    stage: str = ""

    @staticmethod
    def of(node: Node) -> Wish | None:
        """From ``status.force`` or ``status.skip``; None where there is none."""
        if not node.there:
            return None
        return Wish(node.text("by"), node.text("reason"), node.time("since"), node.text("stage"))


@dataclass(frozen=True)
class Limit:
    """Somebody limits the candidate to ``weight`` percent of requests. ``authority``: an agent's; empty for people."""

    weight: int
    by: str
    reason: str = ""
    since: Moment | None = None
    authority: str = ""

    @staticmethod
    def of(node: Node) -> Limit | None:
        """From ``status.ceiling``; None where there is none."""
        weight = node.count("weight")
        if weight is None:
            return None
        return Limit(weight, node.text("by"), node.text("reason"), node.time("since"), node.text("authority"))


@dataclass(frozen=True)
class Instead:
    """Somebody asked for the release of ``version`` in place of ``ref``, which the spec names.

    ``authority``: what an agent did it under; empty for people.
    """

    version: str
    ref: str
    by: str
    since: Moment | None = None
    authority: str = ""

    @staticmethod
    def of(node: Node, named: str) -> Instead | None:
        """From ``status.instead``; None where there is none, or the spec names another version by now."""
        version, ref = node.text("version"), node.text("ref")
        if not version or ref != named:
            return None
        return Instead(version, ref, node.text("by"), node.time("since"), node.text("authority"))


@dataclass(frozen=True)
class Request:
    """An ActionRequest. ``phase`` is empty until the operator has seen it.

    ``authority``: what an agent acts under, its permit first; empty for people.
    """

    name: str
    action: str
    by: str
    phase: str
    message: str = ""
    reason: str = ""
    created_at: Moment | None = None
    completed_at: Moment | None = None
    expires_at: Moment | None = None
    not_before: Moment | None = None
    authority: str = ""

    @property
    def waiting(self) -> bool:
        """Whether it has no result yet."""
        return self.phase in ("", "Pending")

    @staticmethod
    def of(node: Node) -> Request:
        """From an ActionRequest."""
        created, lasts = node.time("metadata", "creationTimestamp"), node.span("spec", "expiresAfter") or 3600.0
        not_before = node.time("spec", "notBefore")
        begins = not_before or created
        return Request(
            name=node.text("metadata", "name"),
            action=node.text("spec", "action"),
            by=node.text("spec", "requester"),
            phase=node.text("status", "phase"),
            message=node.text("status", "message"),
            reason=node.text("spec", "reason"),
            created_at=created,
            completed_at=node.time("status", "completedAt"),
            expires_at=Moment(begins + lasts) if begins is not None else None,
            not_before=not_before,
            authority=f"permit {permit}" if (permit := node.text("spec", "permit")) else "",
        )

    @staticmethod
    def handled(node: Node) -> Request:
        """From an entry of ``status.handledRequests``."""
        return Request(
            name=node.text("name"),
            action=node.text("action"),
            by=node.text("by"),
            phase=node.text("phase"),
            message=node.text("message"),
            completed_at=node.time("at"),
            authority=node.text("authority"),
        )
