"""One bad object for every rule of every kind, and the exact answer that the API server must give."""

from __future__ import annotations

from typing import Any

from tests.api import objects as o
from tests.api.bad import DELETE, DIGEST, DURATION, LABEL, NAME, NUMBER, OPTIONAL_DURATION, RATIO, TIME, Bad, edited
from tests.api.cases_agents import agent_policies, agents_actions

__all__ = ["DELETE", "RULES", "Bad", "edited"]


def _model_version() -> list[Bad]:
    def bad(at: str, message: str, changes: dict[str, Any], base: o.Spec = o.MODEL_VERSION) -> Bad:
        return Bad("ModelVersion", at, message, changes, base)

    full = o.MODEL_VERSION_FULL
    one_runtime = "set exactly one of `image` (Weir runs the pods) and `serviceRef` (you run them)"
    of_image = "`command`, `args`, `env` and `resources` belong to `image`; remove them or replace `serviceRef`"
    one_list = "set `versions` or `digests`, not both; leave both out for every version of the model"
    service = o.MODEL_VERSION_SERVICE
    cases = [
        bad("spec.model", LABEL, {"model": "Digits_1"}),
        bad("spec.model", LABEL, {"model": "a.b"}),
        bad("spec.runtime.serviceRef.name", NAME, {"runtime.serviceRef.name": "Digits!"}, service),
        bad("spec.artifact.digest", DIGEST, {"artifact.digest": "sha256:abc"}, full),
        bad("spec.artifact.digest", DIGEST, {"artifact.digest": o.DIGEST.upper()}, full),
        bad("spec.runtime.warmup.timeout", DURATION, {"runtime.warmup.timeout": "0s"}, full),
        bad("spec.runtime.warmup.timeout", DURATION, {"runtime.warmup.timeout": "1d"}, full),
        bad("spec.runtime.warmup.timeout", DURATION, {"runtime.warmup.timeout": "-5s"}, full),
        bad("spec.support.retiredAfter", TIME, {"support.retiredAfter": "0000-01-01T00:00:00Z"}, full),
        bad("spec.evaluations[0].value", NUMBER, {"evaluations.0.value": "97%"}, full),
        bad("spec.evaluations[0].value", NUMBER, {"evaluations.0.value": "NaN"}, full),
        bad(
            "spec.artifact.uri",
            "`uri` must start with http://, https://, s3://, oci:// or pvc://",
            {"artifact.uri": "file:///etc/shadow"},
            full,
        ),
        bad("spec.runtime", one_runtime, {"runtime.image": DELETE}),
        bad("spec.runtime", one_runtime, {"runtime.image": "registry.example/digits:1"}, service),
        bad("spec.runtime", of_image, {"runtime.command": ["serve"]}, service),
        bad("spec.runtime", of_image, {"runtime.args": ["-v"]}, service),
        bad("spec.runtime", of_image, {"runtime.env": [{"name": "A"}]}, service),
        bad("spec.runtime", of_image, {"runtime.resources": {}}, service),
        bad("spec.bundle", "parts in `bundle` must differ in kind or name", {"bundle.1.kind": "Tokenizer"}, full),
        bad("spec.compatibleWith[0]", one_list, {"compatibleWith.0.digests": [o.DIGEST]}, full),
    ]
    changed: dict[str, tuple[dict[str, Any], ...]] = {
        "model": ({"model": "letters"},),
        "version": ({"version": "2"},),
        "artifact": ({"artifact.digest": o.OTHER_DIGEST}, {"artifact": DELETE}),
        "runtime": (
            {"runtime.image": "registry.example/other:1"},
            {"runtime.resources.limits.memory": "1Gi"},
            {"runtime.resources.limits": DELETE},
        ),
        "bundle": ({"bundle.0.digest": o.OTHER_DIGEST}, {"bundle": DELETE}),
        "provenance": ({"provenance.seed": 43}, {"provenance": DELETE}),
        "contracts": ({"contracts.request": "other"}, {"contracts": DELETE}),
        "compatibleWith": ({"compatibleWith.0.model": "other"}, {"compatibleWith": DELETE}),
        "evaluations": ({"evaluations.0.value": "0.98"}, {"evaluations": DELETE}),
    }
    optional = ("artifact", "bundle", "provenance", "contracts", "compatibleWith", "evaluations")
    added = [(o.MODEL_VERSION, name, {name: full[name]}) for name in optional]
    edits = [(full, name, changes) for name, all_changes in changed.items() for changes in all_changes]
    for base, name, changes in [*edits, *added]:
        message = f"`{name}` is immutable: create a new ModelVersion instead"
        cases.append(Bad("ModelVersion", f"spec.{name}", message, changes, base, update=True))
    return cases


def _gates() -> list[Bad]:
    def bad(gate: o.Spec, at: str, message: str, changes: dict[str, Any]) -> Bad:
        base = {**o.ROLLOUT_GATEWAY, "gates": [gate]}
        return Bad("Rollout", f"spec.gates[0]{at}", message, {f"gates.0.{k}": v for k, v in changes.items()}, base)

    bound = "set a bound for the threshold template: `max` or `min`"
    minimum = "`min` belongs to the threshold template; the others count bad requests, so use `max`"
    one = (
        "a gate asks one question: keep one of `max` (or `min`), `objective` and `compare`, and make another gate for "
        "the others"
    )
    uncounted = "`objective` is a share of good requests; the templates threshold and mean count none"
    promised = "`objective` is the share of good requests that you promise, between '0' and '1', such as '0.999'"
    share = "`max` is a share of requests between '0' and '1', such as '0.05' for five percent"
    meaning = "the mean template compares with stable, so it has no `max`; use the threshold template for a bound"
    over = "`over` (the latency bound, such as '250ms') belongs to the http-latency template"
    slow = "`over` (the latency bound, such as '250ms') says which requests are slow; `max` and `objective` need it"
    counts = "`bad` and `total` (two counting queries) are required by the custom template and by no other"
    sums = "`sum` and `count` (two counting queries) are required by the mean template and, like `worse`, by no other"
    query = "`query` is required by the threshold template and by no other"
    fails = "`failAbove` is a ratio to stable of at least '1' and at most '100', such as '1.1' for ten percent more"
    passes = "`passBelow` must be greater than `failAbove` and at most '100': a Pass tolerates what is not yet a Fail"
    accepts = "`acceptBelow` must not be less than `ignoreBelow`"
    http, latency, custom, threshold = o.HTTP_GATE, o.LATENCY_GATE, o.CUSTOM_GATE, o.THRESHOLD_GATE
    compared, mean, objective = o.COMPARED_GATE, o.MEAN_GATE, o.OBJECTIVE_GATE
    return [
        bad(threshold, "", bound, {"max": DELETE, "min": DELETE}),
        bad(http, ".min", minimum, {"min": "0.01"}),
        bad(http, "", one, {"objective": "0.99"}),
        bad(http, "", one, {"compare": {}}),
        bad(threshold, ".objective", uncounted, {"max": DELETE, "min": DELETE, "objective": "0.9"}),
        bad(objective, ".objective", promised, {"objective": "1"}),
        bad(http, ".max", share, {"max": "5"}),
        bad(http, ".max", share, {"max": "-0.1"}),
        bad(mean, ".max", meaning, {"max": "1", "compare": DELETE}),
        bad(threshold, ".min", "`min` must not be greater than `max`", {"min": "101"}),
        bad(http, ".over", over, {"over": "250ms"}),
        bad(latency, ".over", slow, {"over": DELETE}),
        bad(custom, "", counts, {"bad": DELETE}),
        bad(custom, "", counts, {"total": DELETE}),
        bad(http, "", counts, {"bad": "bad_total"}),
        bad(mean, "", sums, {"sum": DELETE}),
        bad(http, "", sums, {"worse": "Lower"}),
        bad(threshold, ".query", query, {"query": DELETE}),
        bad(http, ".query", query, {"query": "up"}),
        bad(http, ".name", LABEL, {"name": "Errors!"}),
        bad(http, ".max", NUMBER, {"max": "five"}),
        bad(http, ".interval", DURATION, {"interval": "0s"}),
        bad(compared, ".compare.failAbove", fails, {"compare.failAbove": "0.9"}),
        bad(compared, ".compare.passBelow", passes, {"compare.passBelow": "1.2"}),
        bad(compared, ".compare.acceptBelow", accepts, {"compare.acceptBelow": "0.001"}),
        bad(compared, ".compare.ignoreBelow", RATIO, {"compare.ignoreBelow": "2"}),
    ]


def _rollout() -> list[Bad]:
    def bad(at: str, message: str, changes: dict[str, Any], base: o.Spec = o.ROLLOUT) -> Bad:
        return Bad("Rollout", at, message, changes, base)

    gateway, blue_green = o.ROLLOUT_GATEWAY, o.ROLLOUT_BLUE_GREEN
    rise = "weights in `steps` must rise from step to step, such as 10, 25, 50; 100 is added at the end by itself"
    name = (
        "the name of a Rollout must start with a letter, hold only lower-case letters, digits and '-', and have at "
        "most 50 characters: Services are named after it"
    )
    one_strategy, one_traffic = (
        "set exactly one of `canary` and `blueGreen`",
        "set exactly one of `gateway` and `service`",
    )
    one_route = "set exactly one of `parentRefs` (Weir owns the HTTPRoute) and `routeRef` (you keep it)"
    source = "gates of the templates gateway-errors, custom, mean and threshold need `metrics.prometheus`"
    needing = ({**o.HTTP_GATE, "template": "gateway-errors"}, o.CUSTOM_GATE, o.THRESHOLD_GATE, o.MEAN_GATE)
    return [
        *(Bad("Rollout", "", name, {}, o.ROLLOUT, name=text) for text in ("1-digits", "digits.v1", "d" * 51)),
        bad("spec.versionRef.name", NAME, {"versionRef.name": "Digits 1"}),
        bad("spec.progressDeadline", DURATION, {"progressDeadline": "soon"}),
        bad("spec.rollback.keepFor", OPTIONAL_DURATION, {"rollback.keepFor": "1 hour"}),
        bad("spec.rollback.keepFor", OPTIONAL_DURATION, {"rollback.keepFor": "8761h"}),
        bad("spec.progressDeadline", DURATION, {"progressDeadline": "8760h1ms"}),
        bad("spec.strategy.canary.steps", rise, {"strategy.canary.steps": [{"weight": 50}, {"weight": 25}]}),
        bad("spec.strategy.canary.steps", rise, {"strategy.canary.steps": [{"weight": 50}, {"weight": 50}]}),
        bad("spec.strategy", one_strategy, {"strategy.canary": DELETE}),
        bad("spec.strategy", one_strategy, {"strategy.blueGreen": {}}),
        bad("spec.traffic", one_traffic, {"traffic.service": DELETE}),
        bad("spec.traffic", one_traffic, {"traffic.service": {}}, gateway),
        bad("spec.traffic.gateway", one_route, {"traffic.gateway.parentRefs": DELETE}, gateway),
        bad("spec.traffic.gateway", one_route, {"traffic.gateway.parentRefs": [{"name": "web"}]}, blue_green),
        bad(
            "spec.traffic.gateway.hostnames",
            "`hostnames` belong to the HTTPRoute that you keep; remove them here",
            {"traffic.gateway.hostnames": ["digits.example.com"]},
            blue_green,
        ),
        bad(
            "spec.metrics.prometheus.address",
            "`address` must be a URL such as http://prometheus.monitoring:9090",
            {"metrics.prometheus.address": "prometheus:9090"},
            gateway,
        ),
        bad("spec.metrics", "set at most one of `scrape` and `prometheus`", {"metrics.scrape": {}}, gateway),
        *(bad("spec.gates", source, {"gates": [gate]}) for gate in needing),
        bad(
            "spec",
            "a preview hostname needs `traffic.gateway`; remove `strategy.blueGreen.preview.hostname`",
            {"traffic": {"service": {}}},
            blue_green,
        ),
        *_gates(),
        *_risk(),
        *_approvals(),
    ]


def _risk() -> list[Bad]:
    def bad(at: str, message: str, changes: dict[str, Any], base: o.Spec = o.ROLLOUT_GATEWAY) -> Bad:
        return Bad("Rollout", at, message, changes, base)

    unlike = "names of gates must differ; give each gate of the same template a `name`"
    remembers = "`errorBudget` needs `metrics.prometheus`, which remembers the window's requests"
    counted = (
        "`ramp` needs a gate of template http-errors, gateway-errors or custom that compares with stable (no `max`, no "
        "`objective`): it counts that gate's bad requests"
    )
    one_way = "set exactly one of `steps` and `ramp`"
    smaller = "`minWeight` must not be greater than `maxWeight`"
    promised = "`objective` of the service is a share of good requests between '0' and '1', such as '0.999'"
    window = "`window` must be at least '1h', such as '720h' for thirty days"
    share = "`releaseShare` must be greater than '0', such as '0.1' for a tenth of the budget"
    both = "set both `bad` and `total`, or neither to count the requests of all pods of the Rollout"

    def rate(field: str) -> str:
        return f"`{field}` must be greater than '0' and at most '0.5', such as '0.05' for one release in twenty"

    return [
        bad("spec.gates", unlike, {"gates": [{"template": "http-errors"}, {"template": "http-errors"}]}),
        bad("spec.gates", unlike, {"gates": [{"template": "http-errors"}, {**o.HTTP_GATE, "name": "http-errors"}]}),
        bad("spec.errorBudget", remembers, {"errorBudget": {"objective": "0.99"}}, o.ROLLOUT),
        bad("spec.errorBudget.objective", promised, {"errorBudget.objective": "0"}),
        bad("spec.errorBudget.window", window, {"errorBudget.window": "59m"}),
        bad("spec.errorBudget.releaseShare", share, {"errorBudget.releaseShare": "0"}),
        bad("spec.errorBudget", both, {"errorBudget.bad": "errors_total"}),
        bad("spec.judgement.falseRollbackRate", rate("falseRollbackRate"), {"judgement.falseRollbackRate": "0.6"}),
        bad("spec.judgement.falsePassRate", rate("falsePassRate"), {"judgement.falsePassRate": "0"}),
        bad("spec.strategy.canary", one_way, {"strategy.canary.ramp": {"riskBudget": 50}}),
        bad("spec.strategy.canary", one_way, {"strategy.canary.steps": DELETE}),
        bad("spec.strategy.canary.ramp.minWeight", smaller, {"strategy.canary.ramp.minWeight": 20}, o.ROLLOUT_RAMP),
        bad("spec.strategy.canary.ramp", counted, {"gates": [o.LATENCY_GATE]}, o.ROLLOUT_RAMP),
    ]


def _approvals() -> list[Bad]:
    def bad(at: str, message: str, changes: dict[str, Any]) -> Bad:
        return Bad("Rollout", at, message, changes, o.ROLLOUT_APPROVALS)

    one = "set exactly one of `group` and `verb` in `from`"
    unlike = "names of approvals must differ; give each approval with the same `before` a `name`"
    before = "spec.approvals[0].before in body should match '^(Traffic[(](100|[1-9][0-9]?)[)]|Switch|Promote)$'"
    return [
        bad("spec.approvals[0].from", one, {"approvals.0.from": {}}),
        bad("spec.approvals[0].from", one, {"approvals.0.from.verb": "approve"}),
        bad("spec.approvals[1].from.verb", LABEL, {"approvals.1.from.verb": "Approve!"}),
        bad("spec.approvals", unlike, {"approvals.1.name": DELETE, "approvals.1.before": "Traffic(25)"}),
        bad("spec.approvals", unlike, {"approvals.1.name": "Traffic(25)"}),
        bad("spec.approvals[0].expiresAfter", DURATION, {"approvals.0.expiresAfter": "0s"}),
        *(bad("spec.approvals[0].before", before, {"approvals.0.before": text}) for text in ("Traffic(0)", "promote")),
    ]


def _records_and_actions() -> list[Bad]:
    sealed = "a RolloutRecord is sealed and cannot be changed"
    fixed = "an ActionRequest cannot be changed; create a new one"

    def action(
        at: str, message: str, changes: dict[str, Any], update: bool = False, base: o.Spec = o.ACTION_PAUSE
    ) -> Bad:
        return Bad("ActionRequest", at, message, changes, base, update)

    version = "`version` is required by the action Release, and belongs else to Rollback alone"
    return [
        Bad("RolloutRecord", "spec", sealed, {"outcome": "Promoted"}, o.RECORD, update=True),
        Bad("RolloutRecord", "spec", sealed, {"decisions.0.evidence.0.candidate.bad": 0}, o.RECORD, update=True),
        Bad("RolloutRecord", "spec", sealed, {"gates": DELETE}, o.RECORD, update=True),
        action("spec", fixed, {"reason": "other"}, update=True),
        action("spec", fixed, {"expect": DELETE}, update=True),
        action("spec.duration", "`duration` belongs to the action Pause", {"action": "Resume"}),
        action("spec.duration", DURATION, {"duration": "0s"}),
        action("spec.rolloutRef.name", NAME, {"rolloutRef.name": "-"}),
        action("spec.expect.stage", "Too long: may not be more than 253 bytes", {"expect.stage": "x" * 254}),
        action("spec.expect.candidate", DIGEST, {"expect.candidate": "sha256:1"}),
        action("spec.version", version, {"version": "digits-1"}, base=o.ACTION),
        action("spec.version", version, {"version": DELETE}, base=o.ACTION_RELEASE),
        action("spec.version", NAME, {"version": "Digits 1"}, base=o.ACTION_ROLLBACK),
        action("spec.notBefore", "`notBefore` belongs to the action Drill", {"notBefore": o.TIME}, base=o.ACTION),
        action("spec.notBefore", TIME, {"notBefore": "0000-01-01T00:00:00Z"}, base=o.ACTION_DRILL),
        action("spec.approval.digest", DIGEST, {"approval.digest": "sha256:1"}, base=o.ACTION_APPROVE),
        action("spec.expiresAfter", DURATION, {"expiresAfter": "-1h"}, base=o.ACTION),
        *agents_actions(),
    ]


def _data_contract() -> list[Bad]:
    full, source = o.CONTRACT_FULL, o.CONTRACT_SOURCE

    def bad(at: str, message: str, changes: dict[str, Any], base: o.Spec = full, update: bool = False) -> Bad:
        return Bad("DataContract", at, message, changes, base, update)

    standard = "`apiVersion` must name a version 3 of the Open Data Contract Standard, such as 'v3.1.0'"
    document = "`kind` of the document must be 'DataContract'"
    identity = "`id` is required by the Open Data Contract Standard: give the contract a stable identifier"
    version = "`version` is required by the Open Data Contract Standard: give the document a version such as '1.0.0'"
    content = "a version of a contract never changes: raise `version` together with the change"
    one_document = "set exactly one of `odcs` (the document itself) and `source` (where it is)"
    one_source = "set exactly one of `configMapRef`, `oci` and `git`"
    one_reference = "set exactly one of `server` and `configMapRef`"
    reference = "`drift` needs `reference`: the profile that the data is compared with"
    meaning = "`semantics` belong to the version of the contract: raise `odcs.version` together with the change"
    environment = "`environment` of a server must be the name of one of `environments`"
    return [
        bad("spec.odcs.apiVersion", standard, {"odcs.apiVersion": DELETE}),
        bad("spec.odcs.apiVersion", standard, {"odcs.apiVersion": "v2.2.2"}),
        bad("spec.odcs.kind", document, {"odcs.kind": DELETE}),
        bad("spec.odcs.kind", document, {"odcs.kind": "DataProduct"}),
        bad("spec.odcs.id", identity, {"odcs.id": DELETE}),
        bad("spec.odcs.id", identity, {"odcs.id": ""}),
        bad("spec.odcs.version", version, {"odcs.version": DELETE}),
        bad("spec.odcs.version", version, {"odcs.version": ""}),
        bad("spec.odcs.version", content, {"odcs.schema.0.properties.1.logicalType": "integer"}, update=True),
        bad("spec.odcs.version", content, {"odcs.schema.0.properties.1.logicalTypeOptions.minimum": 1}, update=True),
        bad("spec.odcs.version", content, {"odcs.team": {"name": "data"}}, update=True),
        bad("spec", one_document, {"odcs": DELETE}),
        bad("spec", one_document, {"odcs": o.ODCS}, source),
        bad("spec.source", one_source, {"source.configMapRef": DELETE}, source),
        bad("spec.source", one_source, {"source.oci": "oci://registry.example/orders:1"}, source),
        bad(
            "spec.source.oci",
            "`oci` must start with oci://, such as oci://registry.example/contracts/orders:1.0.0",
            {"source.configMapRef": DELETE, "source.oci": "registry.example/orders:1"},
            source,
        ),
        bad("spec.source.digest", DIGEST, {"source.digest": "md5:1"}, source),
        bad("spec.source", one_source, {"source.oci": "oci://registry.example/orders:1"}, o.CONTRACT_GIT),
        bad("spec.engine.timeout", DURATION, {"engine.timeout": "0s"}),
        bad(
            "spec.schedule.cron",
            "`cron` must have five fields, such as '0 * * * *' for every hour",
            {"schedule.cron": "hourly"},
        ),
        bad("spec.freshness.warnAfter", "`warnAfter` must be shorter than `failAfter`", {"freshness.warnAfter": "90m"}),
        bad("spec.drift", reference, {"reference": DELETE}),
        bad("spec.drift[0].tolerance", "`tolerance` must be more than 0", {"drift.0.tolerance": "0"}),
        bad("spec.drift[0].tolerance", RATIO, {"drift.0.tolerance": "0,25"}),
        bad("spec.drift[0].alpha", "`alpha` must be more than 0 and at most '0.5'", {"drift.0.alpha": "0.6"}),
        bad("spec.drift[0].alpha", "`alpha` must be more than 0 and at most '0.5'", {"drift.0.alpha": "0.0"}),
        bad("spec.reference", one_reference, {"reference.configMapRef": {"name": "profile"}}),
        bad("spec.reference", one_reference, {"reference.server": DELETE}),
        bad("spec.live.interval", DURATION, {"live.interval": "0s"}),
        bad("spec.drift[0].name", LABEL, {"drift.0.name": "Amount"}),
        bad(
            "spec.parity",
            "set at least one of `profile` and `rowReplay`",
            {"parity.profile": DELETE, "parity.rowReplay": DELETE},
        ),
        bad("spec.compatibility.waivers[0].expires", TIME, {"compatibility.waivers.0.expires": "9999-12-31T23:59:59Z"}),
        bad("spec.parity.serving", "`training` and `serving` must be two servers", {"parity.serving": "lake"}),
        bad("spec.parity.training", LABEL, {"parity.training": "Lake!"}),
        bad("spec.leakage[0].other", "`training` and `other` must be two servers", {"leakage.0.other": "lake"}),
        bad("spec.leakage[0].maxSharedRatio", RATIO, {"leakage.0.maxSharedRatio": "1.5"}),
        bad("spec.parity.rowReplay.tolerance", NUMBER, {"parity.rowReplay.tolerance": "a bit"}),
        bad("spec.enforcement.grace", OPTIONAL_DURATION, {"enforcement.grace": "soon"}),
        bad("spec.servers[1].volume.claimName", NAME, {"servers.1.volume.claimName": "Orders"}),
        bad("spec.semantics", meaning, {"semantics.0.unit": "USD"}, update=True),
        bad("spec.semantics", meaning, {"semantics": DELETE}, update=True),
        bad("spec.semantics", meaning, {"semantics": full["semantics"]}, o.CONTRACT, update=True),
        bad("spec.parity.rowReplay.maxMismatchRatio", RATIO, {"parity.rowReplay.maxMismatchRatio": "5"}),
        bad("spec.servers", environment, {"servers.0.environment": "staging"}),
        bad("spec.servers", environment, {"environments": DELETE}),
    ]


def _contract_check() -> list[Bad]:
    full = o.CHECK_FULL

    def changed(field: str, changes: dict[str, Any], base: o.Spec = full) -> Bad:
        message = f"`{field}` is immutable: create a new ContractCheck instead"
        return Bad("ContractCheck", f"spec.{field}", message, changes, base, update=True)

    return [
        Bad("ContractCheck", "spec.contractRef.name", NAME, {"contractRef.name": "Orders"}, full),
        Bad("ContractCheck", "spec.servers[0]", LABEL, {"servers.0": "Lake"}, full),
        changed("contractRef", {"contractRef.name": "other"}),
        changed("servers", {"servers": ["lake"]}),
        changed("servers", {"servers": DELETE}),
        changed("servers", {"servers": ["lake"]}, o.CHECK),
        changed("purpose", {"purpose": "Request"}),
        changed("for", {"for": "digits/4"}),
    ]


RULES: tuple[Bad, ...] = (
    *_model_version(),
    *_rollout(),
    *_records_and_actions(),
    *_data_contract(),
    *_contract_check(),
    *agent_policies(),
)
