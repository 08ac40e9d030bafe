"""What the reasons in holds and conditions mean, and what to do: the same words as docs/how-to/troubleshooting.md."""

from __future__ import annotations

from dataclasses import dataclass

from weir.view.explanation import Move
from weir.view.model import RolloutInfo
from weir.view.parts import Hold
from weir.view.words import sentence


@dataclass(frozen=True)
class Cause:
    """``means`` completes "because …", ``until`` "waits for …"; ``steps`` are (what to do, command or nothing).

    Commands may use {name}, {version} (the ModelVersion that is wanted), {pool} (the candidate's Deployment), {ns}
    (the option for the namespace) and {contract} (the DataContract that says the worst). ``whole``: what Weir says of
    it adds nothing.
    """

    means: str
    steps: tuple[tuple[str, str], ...] = ()
    until: str = ""
    whole: bool = False


_EDIT = "kubectl edit rollouts.weir.dev {name}{ns}"
_NAME = "kubectl patch rollouts.weir.dev {name}{ns} --type merge -p "
_NAME += """'{{"spec":{{"versionRef":{{"name":"MODELVERSION"}}}}}}'"""
_PODS = ("See what the pods say.", "kubectl describe pods{ns} -l weir.dev/pool={pool}")
_LOGS = ("Read what the server wrote before it ended.", "kubectl logs{ns} -l weir.dev/pool={pool} --previous")
_ROUTE = ("See what the gateway says of the route.", "kubectl describe httproutes{ns}")
_GATEWAYS = ("See which gateways there are and what state they are in.", "kubectl get gateways -A")
_VERSIONS = ("See which ModelVersions there are.", "kubectl get modelversions{ns}")
_NEW_VERSION = ("A ModelVersion cannot be changed: create a new one, and name it in place of MODELVERSION.", _NAME)
_CONTRACT = "kubectl edit datacontracts.weir.dev {contract}{ns}"
_CHECK = ("The data is repaired? Check it again.", "kubectl weir contract check {contract}{ns}")
_WAIVE = (
    "Accept it for a time, if you answer for it: add the waiver that is named above to spec.compatibility.waivers, "
    "with approvedBy, reason and expires.",
    _CONTRACT,
)
_ROLES = ("Compare the operator's rights with the roles of the chart.", "kubectl get clusterroles,clusterrolebindings")

CAUSES: dict[str, Cause] = {
    "ModelVersionNotFound": Cause(
        "there is no ModelVersion of that name in this namespace",
        (_VERSIONS, ("Create it with kubectl apply, or name one of them in place of MODELVERSION.", _NAME)),
        until="that ModelVersion to be created, or another one to be named",
        whole=True,
    ),
    "ModelVersionDeleting": Cause(
        "that ModelVersion is being deleted",
        (_VERSIONS, ("Name another one in place of MODELVERSION.", _NAME)),
        until="another ModelVersion to be named",
    ),
    "ModelVersionInvalid": Cause(
        "that ModelVersion is not complete or not valid",
        (("Look at the field that is named above.", "kubectl describe modelversion {version}{ns}"), _NEW_VERSION),
        until="a ModelVersion that is complete",
    ),
    "ModelVersionRetired": Cause(
        "that ModelVersion is retired",
        (_VERSIONS, ("Name its successor in place of MODELVERSION.", _NAME)),
        until="another ModelVersion to be named",
    ),
    "ServiceShared": Cause(
        "two versions name the same Service, so their shares of the traffic cannot be told apart",
        (("Give each version a Service of its own in runtime.serviceRef of a new ModelVersion.", _EDIT),),
    ),
    "GatewayAPIMissing": Cause(
        "the cluster has no HTTPRoutes",
        (("Install the Gateway API, or let Weir share the traffic by pods: set traffic.service.", _EDIT),),
    ),
    "GatewayNotFound": Cause(
        "the Gateway that spec.traffic.gateway names is not there",
        (_GATEWAYS, ("Correct traffic.gateway.parentRefs.", _EDIT)),
        until="the Gateway to be there",
    ),
    "GatewayNotProgrammed": Cause(
        "the Gateway is not ready: its own controller has not set it up",
        (_GATEWAYS, ("Read what its controller says.", "kubectl describe gateways -A")),
        until="the Gateway to be ready",
    ),
    "FeatureNotSupported": Cause(
        "the gateway cannot do what spec.traffic.gateway.matches asks for",
        (
            ("Take that match out of spec.traffic.gateway.matches, or name another Gateway in parentRefs.", _EDIT),
            ("See what the gateway classes claim to support.", "kubectl describe gatewayclasses"),
        ),
        until="a route that this gateway can do, or a gateway that can do this route",
    ),
    "RouteNotFound": Cause(
        "the HTTPRoute that spec.traffic.gateway.routeRef names is not there",
        (("See which routes there are, and create it or correct the name.", "kubectl get httproutes{ns}"),),
        until="the HTTPRoute to be there",
    ),
    "RouteNotAccepted": Cause(
        "the gateway does not take the route",
        (_ROUTE, _GATEWAYS),
        until="the gateway to accept the HTTPRoute",
    ),
    "EndpointClaimed": Cause(
        "another Rollout already moves the traffic of this route, hostname or Service",
        (("See which Rollouts there are: one for each endpoint.", "kubectl weir get -A"),),
    ),
    "RouteClaimed": Cause("another Rollout already has this route", (("See which.", "kubectl weir get -A"),)),
    "ServiceClaimed": Cause(
        "a Service of that name belongs to something else",
        (("Rename it, or remove it.", "kubectl get services{ns}"),),
    ),
    "RouteHasRules": Cause(
        "the route that you keep has rules that do not name Weir's Services",
        (("Leave spec.rules out of it, or let its rules name them.", "kubectl edit httproutes{ns}"),),
    ),
    "RouteShape": Cause("the rules of the route are not the two backends that are needed", (_ROUTE,)),
    "RouteConflict": Cause("somebody else keeps writing the same route; only one of the two may", (_ROUTE,)),
    "ServiceSwitchNeedsPods": Cause(
        "traffic.service needs pods that Weir runs, and the version names a Service of yours",
        (("Use traffic.gateway.", _EDIT),),
    ),
    "RetainedPodsServe": Cause("old pods would get a share of the traffic; they are being scaled down"),
    "NoShares": Cause("no version is to have traffic yet"),
    "QuotaExceeded": Cause(
        "the namespace's quota is used up; a release needs pods for both versions",
        (("Raise the quota.", "kubectl describe resourcequotas{ns}"),),
        until="room in the namespace's quota",
    ),
    "FieldConflict": Cause("somebody else holds a field that Weir has to write; the message names who"),
    "Forbidden": Cause("the API server does not let the operator write", (_ROLES,)),
    "DeploymentRejected": Cause(
        "the API server refuses the pods' Deployment", (("Correct the field in spec.template.", _EDIT),)
    ),
    "ServiceRejected": Cause("the API server refuses the version's Service", (("Correct the spec.", _EDIT),)),
    "HTTPRouteRejected": Cause(
        "the API server refuses the HTTPRoute", (("Correct spec.traffic.gateway.matches.", _EDIT),)
    ),
    "AdmissionPolicyMissing": Cause(
        "the cluster does not enforce who may approve, so nobody's consent can be trusted",
        (
            (
                "Install the admission policies of Weir's chart, or ask who looks after the cluster.",
                "kubectl get validatingadmissionpolicies",
            ),
        ),
        until="the admission policies to be in force",
    ),
    "InvalidSpec": Cause("the spec cannot be read", (("Correct the field that is named.", _EDIT),)),
    "BudgetUnknown": Cause(
        "the error budget of the service cannot be read",
        (("Is spec.metrics.prometheus.address right, and does Prometheus answer?", _EDIT),),
        until="the error budget to be readable",
    ),
    "ErrorBudgetSpent": Cause(
        "the service has had more bad requests than its objective allows (its error budget is spent)",
        (("Mend the service, and wait. Or only be warned: set spec.errorBudget.onSpent to Warn.", _EDIT),),
        until="the error budget to recover",
    ),
    "StableUnhealthy": Cause(
        "the version that serves has too few ready pods for its share of the traffic",
        (
            (
                "Or let the release go on by absolute limits although the old version is sick: set "
                "spec.rollback.onStableUnhealthy to FixForward.",
                _EDIT,
            ),
        ),
        until="the pods of the version that serves to be ready",
    ),
    "CeilingSet": Cause(
        "somebody limited how many requests the new version may have",
        until="somebody to lift the limit",
        whole=True,
    ),
    "WantedVersionChanged": Cause(
        "another version was asked for a moment ago", until="the operator to look at the version that is wanted now"
    ),
    "SampleRatioMismatch": Cause(
        "the new version gets another share of the requests than its weight says, so the two cannot be compared",
        (
            ("Is there another route to the same pods, or are sessions sticky?", "kubectl get httproutes{ns} -o wide"),
            ("Clients that keep connections open, or a few users who send most requests, do it, too.", ""),
        ),
        until="the shares of the requests to be right",
    ),
    "ContractFailed": Cause(
        "a check found data that a DataContract forbids",
        (_CHECK,),
        until="data that keeps its contract",
    ),
    "DataDrifted": Cause(
        "the data has drifted further from its reference than a DataContract tolerates",
        (_CHECK, ("Or release a version that was trained on data as it is now.", _NAME)),
        until="data as the reference has it, or a version that was trained on the new data",
    ),
    "AgentIncompatible": Cause(
        "an agent and the models that it drives do not fit each other by compatibleWith of the agent's version",
        (("Release a version of the agent that names what serves and what comes in compatibleWith.", _VERSIONS[1]),),
        until="a version of the agent that knows both",
    ),
    "ContractIncompatible": Cause(
        "the version and its data, or its clients, do not fit each other by their DataContracts",
        (_WAIVE, ("Or release a version that fits.", _NAME)),
        until="contracts that fit, or a waiver",
    ),
    "ContractUnknown": Cause(
        "nobody knows whether a DataContract is kept",
        (_CHECK, ("See why there is no answer.", "kubectl describe datacontract {contract}{ns}")),
        until="a check that gives an answer",
    ),
    "ContractCheckPending": Cause(
        "data is being checked against its DataContract",
        (("See how far the check is.", "kubectl get contractchecks{ns}"),),
        until="a check of the data",
    ),
    "ContractForbidsSplit": Cause(
        "the two versions must not share traffic by their DataContracts, and the strategy does that",
        (("Switch all traffic at once instead: use spec.strategy.blueGreen.", _EDIT), _WAIVE),
        until="a strategy that does not split the traffic, or contracts that fit both ways",
    ),
    "WaiverNeeded": Cause(
        "the contracts alone cannot tell whether the version fits, so somebody has to answer for it",
        (_WAIVE,),
        until="a waiver in the DataContract",
    ),
}
"""Reason → what it means."""

POD_STEPS = (_PODS, _LOGS)
"""What to do where pods do not become ready."""

ROUTE_STEPS = (_ROUTE, _GATEWAYS)
"""What to do where the gateway does not take the route."""

_POD_HINTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("pull", "image"),
        "their image cannot be had",
        "Is the image's name right, and may the cluster pull it (pull secret in spec.template)?",
    ),
    (
        ("expected sha256", "digest"),
        "the weights are not those that the ModelVersion names",
        "Somebody replaced the file, or the digest is another file's: `sha256sum FILE` prints it. A ModelVersion "
        "cannot be changed: create a new one.",
    ),
    (
        ("memory limit",),
        "they need more memory than they may have",
        "Raise runtime.resources in a new ModelVersion, or in spec.template.",
    ),
    (("exits with code",), "the server ends by itself", "Its last words are above; its log has more."),
    (("Insufficient", "nodes are available"), "no node has room for them", "Free some, or add a node."),
    (
        ("quota",),
        "the namespace's quota is used up",
        "A release needs pods for both versions: raise the quota.",
    ),
    (("PodSecurity",), "the namespace's pod security forbids them", "Set a securityContext in spec.template."),
)


_NOT_WARM = ("they do not answer the warm-up requests well", "See runtime.warmup of the ModelVersion.")


def pod_hint(message: str) -> tuple[str, str]:
    """(what is wrong with pods of which this is said, what to do about it); empty where it says nothing known."""
    if message.startswith("warming up"):
        # Without a colon it is merely under way.
        return _NOT_WARM if ": " in message else ("", "")
    return next(((means, do) for words, means, do in _POD_HINTS if any(word in message for word in words)), ("", ""))


def wanted(hold: Hold) -> tuple[str, ...]:
    """What has to come before a hold ends, and what Weir says of it."""
    cause, said = CAUSES.get(hold.reason), hold.message.rstrip(".") or hold.reason
    if cause is None or not cause.until:
        return (f'An end to this: "{said}".',)
    until = sentence(cause.until)
    return (until,) if cause.whole else (until, f'Weir says: "{said}".')


def steps(info: RolloutInfo, found: tuple[tuple[str, str], ...]) -> tuple[Move, ...]:
    """What to do, with the commands for this Rollout."""
    version = info.candidate or info.wanted
    fields = {
        "name": info.name,
        "version": info.wanted.name if info.wanted else "",
        "pool": version.pool if version else "",
        "contract": next(iter(info.contracts.concerned if info.contracts is not None else ()), "CONTRACT"),
        "ns": f" -n {info.namespace}" if info.namespace else "",
    }
    return tuple(Move(text, command.format(**fields)) for text, command in found)
