"""Gates: the questions asked of a candidate, and where their counts come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from weir.api.base import ApiModel, Duration, Label, Number, Port, Rule, ShortText, seconds

Template = Literal["http-errors", "http-latency", "gateway-errors", "custom", "threshold"]
Policy = Literal["Hold", "Rollback"]
Query = Annotated[str, Field(min_length=1, max_length=4096)]

QUERY_VARIABLES = (
    "Placeholders: {{namespace}}, {{rollout}}, {{pool}} (Deployment and Service of the arm), {{version}}, {{window}}."
)


class Gate(ApiModel):
    """One question, asked again and again while a release runs. Only an answer of Pass lets the release advance."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "has(self.max) || (self.template == 'threshold' ? has(self.min) : has(self.maxRatioToStable))",
            "set a bound: `max` or `maxRatioToStable`, or for the threshold template `max` or `min`",
            reason="FieldValueRequired",
        ),
        Rule(
            "self.template == 'threshold' || !has(self.min)",
            "`min` belongs to the threshold template; the others count bad requests, so use `max`",
            field_path=".min",
        ),
        Rule(
            "self.template != 'threshold' || !has(self.maxRatioToStable)",
            "`maxRatioToStable` does not work with the threshold template; use 'custom' with bad and total counts",
            field_path=".maxRatioToStable",
        ),
        Rule(
            "self.template == 'threshold' || !has(self.max) || (double(self.max) >= 0.0 && double(self.max) <= 1.0)",
            "`max` is a share of requests between '0' and '1', such as '0.05' for five percent",
            field_path=".max",
        ),
        Rule(
            "!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",
            "`min` must not be greater than `max`",
            field_path=".min",
        ),
        Rule(
            "!has(self.maxRatioToStable) || double(self.maxRatioToStable) > 0.0",
            "`maxRatioToStable` must be greater than '0', such as '1.5' for half as many again as stable",
            field_path=".maxRatioToStable",
        ),
        Rule(
            "(self.template == 'http-latency') == has(self.over)",
            "`over` (the latency bound, such as '250ms') is required by http-latency and by no other template",
            field_path=".over",
        ),
        Rule(
            "self.template == 'custom' ? has(self.bad) && has(self.total) : !has(self.bad) && !has(self.total)",
            "`bad` and `total` (two counting queries) are required by the custom template and by no other",
        ),
        Rule(
            "(self.template == 'threshold') == has(self.query)",
            "`query` is required by the threshold template and by no other",
            field_path=".query",
        ),
    )
    name: Label = Field(description="name of the gate, unique in the Rollout.")
    template: Template = Field(
        description="template: http-errors, http-latency, gateway-errors, custom (bad and total queries) or threshold "
        "(one query)."
    )
    max: Number | None = Field(
        default=None, description="max: highest share of bad requests (0-1), or highest value of a threshold query."
    )
    min: Number | None = Field(default=None, description="min: lowest value of a threshold query.")
    max_ratio_to_stable: Number | None = Field(
        default=None, description="maxRatioToStable: highest share of bad requests relative to stable's, such as '1.5'."
    )
    over: Duration | None = Field(
        default=None,
        description="over: a slower request is bad (http-latency); rounded up to the histogram's next bucket.",
    )
    bad: Query | None = Field(
        default=None, description="bad: PromQL for a counter of bad events of one arm. " + QUERY_VARIABLES
    )
    total: Query | None = Field(
        default=None, description="total: PromQL for a counter of all events of one arm. " + QUERY_VARIABLES
    )
    query: Query | None = Field(default=None, description="query: PromQL that yields one number. " + QUERY_VARIABLES)
    interval: Duration = Field(default="10s", description="interval between two looks at the counts.")
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=50, description="minSamples of each arm before a look may answer Pass or Fail."
    )
    failure_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="failureLimit: failed looks tolerated in a release."
    )
    consecutive_success: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="consecutiveSuccess: passing looks in a row that make the verdict Pass."
    )
    max_wait: Duration = Field(
        default="10m", description="maxWait for a Pass in one stage; then the policies below apply."
    )
    on_insufficient: Policy = Field(
        default="Hold", description="onInsufficient: policy when maxWait passed with too few requests."
    )
    on_error: Policy = Field(
        default="Hold", description="onError: policy when maxWait passed without readable metrics."
    )

    @property
    def interval_seconds(self) -> float:
        """Seconds between two looks."""
        return seconds(self.interval)


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
