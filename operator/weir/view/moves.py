"""What people can do, in words and as commands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from weir.view.commands import edit, kubectl, patch, weir
from weir.view.evidence import new_name, old_name
from weir.view.explanation import Move
from weir.view.model import RolloutInfo
from weir.view.parts import Gate
from weir.view.people import Approval
from weir.view.words import duration


def by_itself(text: str) -> Move:
    """Something that happens without anybody."""
    return Move(text, by_itself=True)


def lift(info: RolloutInfo) -> Move:
    """Takes a limit of the traffic away."""
    return Move(f"Lift the limit: {new_name(info)} gets what the plan gives it.", weir(info, "shift", "--to", "100"))


def content(info: RolloutInfo) -> tuple[Move, ...]:
    """Is content with what serves, where another version was asked for in its place."""
    if info.instead is None or info.stable is None:
        return ()
    told = f"Be content with {info.stable.shown}: then nothing else is wanted any more."
    return (Move(told, weir(info, "release", info.stable.name)),)


def follow(info: RolloutInfo) -> tuple[Move, ...]:
    """Writes down in the spec what was asked for in its place."""
    if info.instead is None:
        return ()
    told = f"Name {info.instead.version} in spec.versionRef, so that it is written down. (In Git, if it is kept there.)"
    return (Move(told, patch(info, f'{{"versionRef":{{"name":"{info.instead.version}"}}}}')),)


def abort(info: RolloutInfo) -> Move:
    """Puts the candidate back."""
    new = new_name(info)
    if info.stable is None:
        return Move(f"Stop the release of {new}.", weir(info, "abort"))
    if not info.weight:
        text = f"Give {new} up: it is taken away, and not tried again until somebody asks for it."
        return Move(text, weir(info, "abort"))
    return Move(
        f"Stop: give all requests back to {old_name(info)}. {new} is not tried again until somebody asks for it.",
        weir(info, "abort"),
    )


def skip(info: RolloutInfo) -> Move:
    """Leaves the current stage."""
    return Move(
        f"Go on to {following(info)} without waiting for this step's time and gates. A gate that says Fail still rolls "
        f"the release back.{_approvals(info)}",
        weir(info, "skip"),
    )


def promote(info: RolloutInfo) -> Move:
    """Goes on to all traffic."""
    return Move(
        f"Give {new_name(info)} all requests now, whatever the gates say. You take the risk.{_approvals(info)}",
        weir(info, "promote"),
    )


def _approvals(info: RolloutInfo) -> str:
    """That neither a skip nor a promotion stands for the consent of people."""
    return " Approvals are still needed." if any(a.state != "Granted" for a in info.approvals) else ""


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


def retry(info: RolloutInfo, version: str, *, proven: bool = False) -> Move:
    """Lets a failed version be released again; ``proven``: it was measured to be bad."""
    only = f", but only if the cause lay outside {version}" if proven else ""
    return Move(f"Try {version} once more, as a new release from the first step on{only}.", weir(info, "retry"))


def release(info: RolloutInfo, version: str = "MODELVERSION") -> Move:
    """Names another version."""
    return Move(
        "Release another version: name it in spec.versionRef, in place of MODELVERSION (their names: "
        f"{kubectl(info, 'get modelversions')}). (In Git, if the Rollout is kept there.)",
        patch(info, f'{{"versionRef":{{"name":"{version}"}}}}'),
    )


def approve(info: RolloutInfo, approval: Approval) -> Move:
    """Gives a consent, now or ahead of its time."""
    several = len([a for a in info.approvals if a.state != "Granted"]) > 1
    what = f"Consent to {approval.name} already"
    if approval.state == "Waiting":
        several, what = len(info.waiting_approvals) > 1, "Consent"
    return Move(
        f"{what}, if you belong to them ({approval.people}) and neither changed nor asked for this release. The "
        "command shows what is approved, and asks; in a script add --yes.",
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


_RATE = re.compile(r"(\S+) requests a second would do")
_NEEDS = re.compile(r"gate (\S+) needs (\S+ \w+) in (\S+) to pass")


def more_requests(info: RolloutInfo) -> Move:
    """Sends more requests; the forecast tells how many would do, where there is one."""
    found = info.condition("Feasible")
    rate = _RATE.search(found.message) if found is not None and found.status == "False" else None
    enough = f" The forecast says that {rate[1]} requests a second would do." if rate else ""
    return Move(f"Send more requests through the gateway (real or test requests both count).{enough}")


def more_time(info: RolloutInfo, gates: Sequence[Gate]) -> tuple[Move, ...]:
    """Gives gates longer than ``maxWait``; the forecast tells how long one needs, where there is one."""
    late = [g for g in gates if g.asks.max_wait is not None]
    if not late:
        return ()
    found = info.condition("Feasible")
    needs = _NEEDS.search(found.message) if found is not None and found.status == "False" else None
    names = " and ".join(f"{g.name} (now {duration(g.asks.max_wait or 0.0)})" for g in late)
    text = f"Give it longer: in spec.gates raise maxWait of {names}."
    if needs is not None and any(g.name == needs[1] for g in late):
        text += f" The forecast says that {needs[1]} needs {needs[2]} in {needs[3]}."
    return (change(info, text),)


def gate_changes(info: RolloutInfo) -> Move:
    """Asks gates for less, or gives them longer."""
    return change(
        info,
        "Ask for less proof: in spec.gates raise compare.acceptBelow (a share of bad requests that is good enough "
        "whatever the old version does) or compare.passBelow.",
    )
