"""What people can do, in words and as commands."""

from __future__ import annotations

from weir.view.commands import edit, patch, weir
from weir.view.evidence import new_name, old_name
from weir.view.explanation import Move
from weir.view.model import RolloutInfo
from weir.view.people import Approval


def by_itself(text: str) -> Move:
    """Something that happens without anybody."""
    return Move(text, by_itself=True)


def abort(info: RolloutInfo) -> Move:
    """Puts the candidate back."""
    new = new_name(info)
    if info.stable is None:
        return Move(f"Stop the release of {new}.", weir(info, "abort"))
    return Move(
        f"Stop: give all requests back to {old_name(info)}. {new} is not tried again until somebody asks for it.",
        weir(info, "abort"),
    )


def skip(info: RolloutInfo) -> Move:
    """Leaves the current stage."""
    return Move(
        f"Go on to {following(info)} without waiting for this step's time and gates. A gate that says Fail still rolls "
        "the release back.",
        weir(info, "skip"),
    )


def promote(info: RolloutInfo) -> Move:
    """Goes on to all traffic."""
    approvals = " Approvals are still needed." if any(a.state != "Granted" for a in info.approvals) else ""
    return Move(
        f"Give {new_name(info)} all requests now, whatever the gates say. You take the risk.{approvals}",
        weir(info, "promote"),
    )


def pause(info: RolloutInfo) -> Move:
    """Stops advancing."""
    return Move("Keep it where it is for a while.", weir(info, "pause"))


def resume(info: RolloutInfo) -> tuple[Move, ...]:
    """Ends what pauses the Rollout."""
    found = []
    if info.pause is not None and (info.pause.by or not info.pause.in_spec):
        found.append(Move("Go on.", weir(info, "resume")))
    if info.pause is not None and info.pause.in_spec:
        found.append(
            Move(
                "Go on: set spec.paused to false (in Git, if the Rollout is kept there).",
                patch(info, '{"paused":false}'),
            )
        )
    return tuple(found)


def retry(info: RolloutInfo, version: str) -> Move:
    """Lets a failed version be released again."""
    return Move(f"Try {version} once more, as a new release from the first step on.", weir(info, "retry"))


def release(info: RolloutInfo, version: str = "MODELVERSION") -> Move:
    """Names another version."""
    return Move(
        "Release another version: name it in spec.versionRef (in Git, if the Rollout is kept there).",
        patch(info, f'{{"versionRef":{{"name":"{version}"}}}}'),
    )


def approve(info: RolloutInfo, approval: Approval) -> Move:
    """Gives a consent."""
    several = len(info.waiting_approvals) > 1
    return Move(
        f"Consent, if you belong to them ({approval.people}) and neither changed nor asked for this release.",
        weir(info, "approve", *(("--approval", approval.name) if several else ())),
    )


def change(info: RolloutInfo, text: str) -> Move:
    """Edits the spec; ``text`` names the field."""
    return Move(f"{text} (In Git, if the Rollout is kept there.)", edit(info))


def following(info: RolloutInfo) -> str:
    """What comes after the current stage, in words."""
    at = next((place for place, rung in enumerate(info.ladder) if rung.state == "Current"), None)
    rung = info.ladder[at + 1] if at is not None and at + 1 < len(info.ladder) else None
    if rung is None:
        return "the next step"
    if rung.kind == "Promote":
        return "the promotion"
    if rung.weight >= 100:
        return "100 %"
    return f"{rung.weight} %" if rung.kind == "Traffic" and rung.name != "Ramp" else f"the stage {rung.name}"


def gate_changes(info: RolloutInfo) -> Move:
    """Asks gates for less, or gives them longer."""
    return change(
        info,
        "Ask for less proof: in spec.gates raise compare.acceptBelow (a share of bad requests that is good enough "
        "whatever the old version does) or compare.passBelow.",
    )
