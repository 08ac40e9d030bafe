"""Bad policies for agents, and bad requests under them."""

from __future__ import annotations

from typing import Any

from tests.api import objects as o
from tests.api.bad import DELETE, DIGEST, DURATION, LABEL, NAME, NUMBER, OPTIONAL_DURATION, Bad


def agent_policies() -> list[Bad]:
    """AgentPolicies and ClusterAgentPolicies."""

    def bad(at: str, message: str, changes: dict[str, Any]) -> Bad:
        return Bad("AgentPolicy", at, message, changes, o.POLICY_FULL)

    namespace = "`namespace` is required by the kind ServiceAccount and by no other"
    foreign = (
        "a name that starts with system: is not an agent's; of those only the group of a namespace's service accounts, "
        "such as system:serviceaccounts:agents, can be a subject"
    )
    then = "`then` of each of `rules` must name one of `permits`"
    named = "`template` of each of `permits` must name one of `templates` for the same action"
    one = "its name must be 'agents': there is one, and the admission policies look for it by name"
    result = "`result` belongs to Retrain"
    subjects = ({"kind": "User", "name": "system:admin"}, {"kind": "Group", "name": "system:authenticated"})
    own = {"kind": "Group", "name": "system:serviceaccounts:kube-system"}
    return [
        bad("spec.subjects[0].namespace", namespace, {"subjects.0.namespace": DELETE}),
        bad("spec.subjects[2].namespace", namespace, {"subjects.2.namespace": "agents"}),
        *(bad("spec.subjects[4].name", foreign, {"subjects.4": subject}) for subject in (*subjects, own)),
        bad("spec.selector.names[0]", NAME, {"selector.names.0": "Digits"}),
        bad("spec.templates[1].result", result, {"templates.1.result": {"base": "Stable"}}),
        bad("spec.templates[0].timeout", DURATION, {"templates.0.timeout": "0s"}),
        bad("spec.damping.reuseBelow", "`reuseBelow` must be less than `suppressAt`", {"damping.reuseBelow": 6000}),
        bad("spec.exploration.maxShareHours", NUMBER, {"exploration.maxShareHours": "half"}),
        bad("spec.fallback.onAgentSilent[0].lease", NAME, {"fallback.onAgentSilent.0.lease": "Tuner"}),
        bad("spec.rules[0].for", OPTIONAL_DURATION, {"rules.0.for": "5 minutes"}),
        bad("spec.rules[0].then", LABEL, {"rules.0.then": "Tune!"}),
        bad("spec.rules", then, {"rules.0.then": "none"}),
        bad("spec.permits", named, {"permits.2.template": "none"}),
        bad("spec.permits", named, {"permits.2.template": "scale"}),
        bad("spec.permits", named, {"templates": DELETE}),
        Bad("AgentPolicy", "", one, {}, o.POLICY, name="other"),
        Bad("ClusterAgentPolicy", "", one, {}, o.CLUSTER_POLICY, name="other"),
        *_permits(),
    ]


def _permits() -> list[Bad]:
    def bad(at: str, message: str, changes: dict[str, Any]) -> Bad:
        return Bad("AgentPolicy", at, message, changes, o.POLICY_FULL)

    quorum = "`quorum` is required by the tier Approve and by no other"
    shrink = "`factor` must be at least '1': a cooldown never shrinks after a failure"
    either = "set `values`, or `minimum` and `maximum`, not both"
    template = "`template` is required by Retrain and Reallocate and by no other action"
    parameters = "`parameters` belong to Retrain and Reallocate"
    safe = "Abort, Pause and Rollback lead back to safety: they have no cooldown and wait for nobody"
    often = "the budget of Abort, Pause and Rollback must allow at least one in an hour"
    back, cooldown = "permits.1", "permits.0.cooldown"
    return [
        bad("spec.permits[0].cooldown.base", "`base` must not be longer than `max`", {f"{cooldown}.base": "61m"}),
        bad("spec.permits[0].cooldown.factor", shrink, {f"{cooldown}.factor": "0.5"}),
        bad("spec.permits[0].approval.quorum", quorum, {"permits.0.approval.quorum": DELETE}),
        bad("spec.permits[0].approval.quorum", quorum, {"permits.0.approval.tier": "Notify"}),
        bad("spec.permits[0].budget.window", DURATION, {"permits.0.budget.window": "1d"}),
        bad("spec.permits[0].template", template, {"permits.0.template": "train"}),
        bad("spec.permits[2].template", template, {"permits.2.template": DELETE}),
        bad("spec.permits[0].parameters", parameters, {"permits.0.parameters": [{"name": "x"}]}),
        bad("spec.permits[2].parameters[0].values", either, {"permits.2.parameters.0.values": ["1"]}),
        bad("spec.permits[1]", safe, {f"{back}.cooldown": {}}),
        bad("spec.permits[1]", safe, {f"{back}.approval": {"tier": "Approve", "quorum": 1}}),
        bad("spec.permits[1]", safe, {f"{back}.approval": {"tier": "ManualOnly"}}),
        bad("spec.permits[1].budget", often, {f"{back}.budget": {"limit": 1, "window": "61m"}}),
        bad("spec.trial.permits[0].budget", often, {"trial.permits.0.budget": {"limit": 2, "window": "3h"}}),
    ]


def agents_actions() -> list[Bad]:
    """ActionRequests."""

    def bad(at: str, message: str, changes: dict[str, Any], base: o.Spec) -> Bad:
        return Bad("ActionRequest", at, message, changes, base)

    answer = (
        "an Approve needs exactly one of `approval` and `request`; Deny, Override and Withdraw need `request`; no other "
        "action has either"
    )
    weight = "`weight` is required by the action ShiftTraffic and by no other"
    parameters = "`parameters` belong to the actions Retrain and Reallocate"
    unneeded = "no permit is for Approve, Deny, Override, Withdraw or Drill; leave `permit` out"
    needed = "`permit` is required by Retrain and Reallocate: their templates are in the AgentPolicy"
    approval, request = o.ACTION_APPROVE["approval"], o.ACTION_DENY["request"]
    return [
        bad("spec", answer, {"approval": approval}, o.ACTION),
        bad("spec", answer, {"request": request}, o.ACTION),
        bad("spec", answer, {"approval": DELETE}, o.ACTION_APPROVE),
        bad("spec", answer, {"request": request}, o.ACTION_APPROVE),
        bad("spec", answer, {"request": DELETE}, o.ACTION_DENY),
        bad("spec", answer, {"approval": approval}, o.ACTION_DENY),
        bad("spec.request.digest", DIGEST, {"request.digest": "sha256:1"}, o.ACTION_DENY),
        bad("spec.weight", weight, {"weight": 10}, o.ACTION),
        bad("spec.weight", weight, {"weight": DELETE}, o.ACTION_SHIFT),
        bad("spec.parameters", parameters, {"parameters": {}}, o.ACTION),
        bad("spec.permit", unneeded, {"permit": "shift"}, o.ACTION_DENY),
        bad("spec.permit", unneeded, {"permit": "shift"}, o.ACTION_DRILL),
        bad("spec.permit", needed, {"permit": DELETE}, o.ACTION_RETRAIN),
        bad("spec.permit", LABEL, {"permit": "Shift"}, o.ACTION_SHIFT),
        bad("spec.rule", "`rule` needs a `permit`", {"rule": "drift"}, o.ACTION),
        bad("spec.evidence[1].name", LABEL, {"evidence.1.name": "a b"}, o.ACTION_SHIFT),
        bad("spec.causedBy.name", NAME, {"causedBy.name": "Tune"}, o.ACTION_SHIFT),
    ]
