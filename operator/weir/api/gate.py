"""Gates: the questions asked of a candidate, and where their counts come from."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from weir.api.base import ApiModel, Duration, Label, Number, Port, Ratio, Rule, ShortText, seconds

Template = Literal["http-errors", "http-latency", "gateway-errors", "custom", "mean", "threshold"]
Policy = Literal["Hold", "Rollback"]
Query = Annotated[str, Field(min_length=1, max_length=4096)]

PLAIN_INTERVAL = 10.0
"""Seconds between two looks of a plain threshold, by default."""

WEIGHED_INTERVAL = 30.0
"""Seconds between two looks of a gate that weighs evidence, by default."""

QUERY_VARIABLES = (
    "Placeholders: {{namespace}}, {{rollout}}, {{pool}} (Deployment and Service of the arm), {{version}}, {{window}}."
)


class Comparison(ApiModel):
    """How the candidate is compared with stable: by evidence that may be looked at after every window.

    Fail: the candidate's share of bad requests is proven to be more than ``failAbove`` times stable's, and more than
    ``ignoreBelow``. Pass: it is proven to be less than ``passBelow`` times stable's, or less than ``acceptBelow``.
    Anything else is Insufficient.
    """

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "double(self.failAbove) >= 1.0 && double(self.failAbove) <= 100.0",
            "`failAbove` is a ratio to stable of at least '1' and at most '100', such as '1.1' for ten percent more",
            field_path=".failAbove",
        ),
        Rule(
            "double(self.passBelow) > double(self.failAbove) && double(self.passBelow) <= 100.0",
            "`passBelow` must be greater than `failAbove` and at most '100': a Pass tolerates what is not yet a Fail",
            field_path=".passBelow",
        ),
        Rule(
            "double(self.acceptBelow) >= double(self.ignoreBelow)",
            "`acceptBelow` must not be less than `ignoreBelow`",
            field_path=".acceptBelow",
        ),
    )
    fail_above: Number = Field(
        default=Decimal("1.1"),
        description="failAbove: Fail when the ratio of the candidate's share to stable's is proven greater than this.",
    )
    pass_below: Number = Field(
        default=Decimal("1.5"),
        description="passBelow: Pass when that ratio is proven less than this. A step before the last is passed when "
        "the next weight is proven to do no more harm than this ratio would do at full traffic.",
    )
    ignore_below: Ratio = Field(
        default=Decimal("0.001"), description="ignoreBelow: a share of bad requests up to this (0-1) is never a Fail."
    )
    accept_below: Ratio = Field(
        default=Decimal("0.005"),
        description="acceptBelow: a share of bad requests proven less than this (0-1) is a Pass, whatever stable's is.",
    )
    weight: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="weight of the gate in the mean of evidence that rolls a release back."
    )
    hard_stop: bool = Field(
        default=False,
        description="hardStop: this gate's own evidence rolls back, too, not only the mean over all gates; each such "
        "gate adds judgement.falseRollbackRate to the rate of false rollbacks.",
    )


DEFAULT_COMPARISON = Comparison()
"""What is compared where nothing is said; made once, since it is asked for at every look."""


class Gate(ApiModel):
    """One question, asked again and again while a release runs. Only an answer of Pass lets the release advance.

    Without ``max``, ``min`` and ``objective`` the gate compares the candidate with stable.
    """

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "self.template != 'threshold' || has(self.max) || has(self.min)",
            "set a bound for the threshold template: `max` or `min`",
            reason="FieldValueRequired",
        ),
        Rule(
            "self.template == 'threshold' || !has(self.min)",
            "`min` belongs to the threshold template; the others count bad requests, so use `max`",
            field_path=".min",
        ),
        Rule(
            "[has(self.max) || has(self.min), has(self.objective), has(self.compare)].filter(x, x).size() <= 1",
            "a gate asks one question: keep one of `max` (or `min`), `objective` and `compare`, and make another gate "
            "for the others",
        ),
        Rule(
            "!has(self.objective) || !(self.template in ['threshold', 'mean'])",
            "`objective` is a share of good requests; the templates threshold and mean count none",
            field_path=".objective",
        ),
        Rule(
            "!has(self.objective) || (double(self.objective) > 0.0 && double(self.objective) < 1.0)",
            "`objective` is the share of good requests that you promise, between '0' and '1', such as '0.999'",
            field_path=".objective",
        ),
        Rule(
            "self.template == 'threshold' || !has(self.max) || (double(self.max) >= 0.0 && double(self.max) <= 1.0)",
            "`max` is a share of requests between '0' and '1', such as '0.05' for five percent",
            field_path=".max",
        ),
        Rule(
            "self.template != 'mean' || !has(self.max)",
            "the mean template compares with stable, so it has no `max`; use the threshold template for a bound",
            field_path=".max",
        ),
        Rule(
            "!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",
            "`min` must not be greater than `max`",
            field_path=".min",
        ),
        Rule(
            "self.template == 'http-latency' || !has(self.over)",
            "`over` (the latency bound, such as '250ms') belongs to the http-latency template",
            field_path=".over",
        ),
        Rule(
            "self.template != 'http-latency' || has(self.over) || !(has(self.max) || has(self.objective))",
            "`over` (the latency bound, such as '250ms') says which requests are slow; `max` and `objective` need it",
            field_path=".over",
        ),
        Rule(
            "self.template == 'custom' ? has(self.bad) && has(self.total) : !has(self.bad) && !has(self.total)",
            "`bad` and `total` (two counting queries) are required by the custom template and by no other",
        ),
        Rule(
            "self.template == 'mean' ? has(self.sum) && has(self.count) : "
            "!has(self.sum) && !has(self.count) && !has(self.worse)",
            "`sum` and `count` (two counting queries) are required by the mean template and, like `worse`, by no other",
        ),
        Rule(
            "(self.template == 'threshold') == has(self.query)",
            "`query` is required by the threshold template and by no other",
            field_path=".query",
        ),
    )
    name: Label = Field(
        default="", description="name of the gate, unique in the Rollout; by default the template's name."
    )
    template: Template = Field(
        description="template: http-errors, http-latency, gateway-errors, custom (bad and total queries), mean (sum "
        "and count queries) or threshold (one query)."
    )
    compare: Comparison | None = Field(
        default=None, description="compare: how the candidate is compared with stable, where the defaults do not fit."
    )
    objective: Ratio | None = Field(
        default=None,
        description="objective: share of good requests (0-1) that is promised; Fail when it is proven to be missed.",
    )
    max: Number | None = Field(
        default=None,
        description="max: a plain threshold: highest share of bad requests (0-1) in a look, or highest value of a "
        "threshold query.",
    )
    min: Number | None = Field(default=None, description="min: lowest value of a threshold query.")
    over: Duration | None = Field(
        default=None,
        description="over: a slower request is bad (http-latency); rounded up to the histogram's next bucket. Without "
        "it the whole distribution is compared.",
    )
    bad: Query | None = Field(
        default=None, description="bad: PromQL for a counter of bad events of one arm. " + QUERY_VARIABLES
    )
    total: Query | None = Field(
        default=None, description="total: PromQL for a counter of all events of one arm. " + QUERY_VARIABLES
    )
    sum: Query | None = Field(
        default=None, description="sum: PromQL for a counter that sums up a quantity of one arm. " + QUERY_VARIABLES
    )
    count: Query | None = Field(
        default=None, description="count: PromQL for a counter of what was summed up. " + QUERY_VARIABLES
    )
    worse: Literal["Higher", "Lower"] | None = Field(
        default=None, description="worse: whether a Higher (default) or a Lower mean is worse."
    )
    query: Query | None = Field(default=None, description="query: PromQL that yields one number. " + QUERY_VARIABLES)
    interval: Duration | None = Field(
        default=None,
        description="interval between two looks at the counts; by default 10s with `max` or `min`, else 30s, for which "
        "the rates of docs/decisions.md were measured.",
    )
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=50, description="minSamples of each arm before a Pass, with `max` also before a Fail."
    )
    failure_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="failureLimit: failed looks tolerated in a release; only with `max` or `min`."
    )
    consecutive_success: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1,
        description="consecutiveSuccess: passing looks in a row that make the verdict Pass; only with `max` or `min`.",
    )
    max_wait: Duration = Field(
        default="10m", description="maxWait for a Pass in one stage; then the policies below apply."
    )
    on_insufficient: Policy = Field(
        default="Hold", description="onInsufficient: policy when maxWait passed with too little evidence."
    )
    on_no_data: Policy = Field(default="Hold", description="onNoData: policy when maxWait passed without requests.")
    on_error: Policy = Field(
        default="Hold", description="onError: policy when maxWait passed without readable metrics."
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("name"):
            return {**data, "name": data.get("template", "")}
        return data

    @property
    def interval_seconds(self) -> float:
        """Seconds between two looks."""
        if self.interval is None:
            return PLAIN_INTERVAL if self.max is not None or self.min is not None else WEIGHED_INTERVAL
        return seconds(self.interval)

    @property
    def comparison(self) -> Comparison | None:
        """How the gate compares with stable; None for a gate with a bound of its own."""
        if self.max is not None or self.min is not None or self.objective is not None:
            return None
        return self.compare or DEFAULT_COMPARISON


class ScrapeSource(ApiModel):
    """Reads the pods' own metrics page; needs no Prometheus."""

    port: Port | None = Field(default=None, description="port of the metrics page; by default the runtime's port.")
    path: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^/")] = Field(
        default="/metrics", description="path of the metrics page."
    )
    interval: Duration = Field(default="2s", description="interval between two reads of a pod.")


class PrometheusSource(ApiModel):
    """Asks a Prometheus; one query per template answers for all Rollouts."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "self.address.matches('^https?://[^ ]+$')",
            "`address` must be a URL such as http://prometheus.monitoring:9090",
            field_path=".address",
        ),
    )
    address: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        description="address of the Prometheus, a URL."
    )
    interval: Duration = Field(default="5s", description="interval between two queries.")
    timeout: Duration = Field(default="5s", description="timeout of one query.")


class RequestMetrics(ApiModel):
    """Names of the metrics that the http templates read; the defaults fit common HTTP instrumentation."""

    requests: ShortText = Field(default="http_requests_total", description="requests: counter of requests.")
    code_label: ShortText = Field(default="code", description="codeLabel that holds the HTTP status code.")
    duration: ShortText = Field(
        default="http_request_duration_seconds", description="duration: histogram of request durations in seconds."
    )
    pod_label: ShortText = Field(default="pod", description="podLabel that holds the pod's name in Prometheus.")


class Metrics(ApiModel):
    """Where evidence comes from: the pods themselves (default) or a Prometheus."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!(has(self.scrape) && has(self.prometheus))",
            "set at most one of `scrape` and `prometheus`",
        ),
    )
    scrape: ScrapeSource | None = Field(default=None, description="scrape the pods directly.")
    prometheus: PrometheusSource | None = Field(default=None, description="prometheus to ask.")
    names: RequestMetrics = Field(default_factory=RequestMetrics, description="names of metrics and labels.")
