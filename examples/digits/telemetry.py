"""What the model server counts. Only users' inference traffic is evidence; probes, scrapes, warm-up are kept out."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from .artifact import CLASSES, Floats
from .fingerprint import Fingerprint
from .profile import INTENSITY, LABEL

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
INFER = "/v2/models/{model}/infer"
INFER_VERSION = "/v2/models/{model}/versions/{version}/infer"


class Metrics:
    """The metrics of one server, in a registry of their own; `path` is a route's template, times are in seconds.

    Usual series exist from the start, so that a scraper does not lose their first increase.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._fingerprint: Fingerprint | None = None
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = self._counter("http_requests", "Inference requests answered.", "method", "path", "code")
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time to answer an inference request.",
            ("method", "path"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._warmup = self._counter(
            "http_warmup_requests", "Warm-up requests answered; in no other metric.", "method", "path", "code"
        )
        self._predictions = self._counter("model_predictions", "Rows predicted, by answer.", "label")
        self._feedback = self._counter("model_feedback", "Rows whose true label arrived.", "correct")
        self._unmatched = self._counter("model_feedback_unmatched", "Labels for requests not remembered here.")
        self._info = Gauge(
            "model_info", "The loaded model; always 1.", ("model", "version", "digest"), registry=self.registry
        )
        for code in ("200", "500"):
            self._requests.labels("POST", INFER, code)
        self._duration.labels("POST", INFER)
        for label in range(CLASSES):
            self._predictions.labels(str(label))
        for correct in ("true", "false"):
            self._feedback.labels(correct)

    def count_request(self, path: str, code: int, seconds: float, *, warmup: bool) -> None:
        """Count one answered inference request; a warm-up request in its own counter only."""
        if warmup:
            self._warmup.labels("POST", path, str(code)).inc()
        else:
            self._requests.labels("POST", path, str(code)).inc()
            self._duration.labels("POST", path).observe(seconds)

    def count_predictions(self, labels: list[int]) -> None:
        """Count the answer given for each row."""
        for label in labels:
            self._predictions.labels(str(label)).inc()
            if self._fingerprint:
                self._fingerprint.observe({LABEL: label})

    def count_distributions(self, profile: str) -> None:
        """Count inputs and answers in the bins of a profile (JSON) from now on; raises ValueError when it is none."""
        self._fingerprint = Fingerprint.load(profile, properties=(INTENSITY, LABEL), registry=self.registry)

    def observe_inputs(self, rows: Floats) -> None:
        """Count how bright the images are."""
        if self._fingerprint:
            for intensity in rows.mean(axis=1).tolist():
                self._fingerprint.observe({INTENSITY: intensity})

    def count_feedback(self, *, right: int, wrong: int) -> None:
        """Count rows whose true label arrived."""
        self._feedback.labels("true").inc(right)
        self._feedback.labels("false").inc(wrong)

    def count_unmatched_feedback(self) -> None:
        """Count labels for a request that this server does not remember."""
        self._unmatched.inc()

    def set_model(self, model: str, version: str, digest: str) -> None:
        """Say which model is loaded."""
        self._info.labels(model, version, digest).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)
