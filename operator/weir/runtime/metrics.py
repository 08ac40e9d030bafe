"""The runtime's Prometheus metrics, under the names that dashboards for controllers already know."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WORK_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """All metrics of the runtime in one registry; one instance a process (or a test)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        reg = self.registry
        self.requests = Counter(
            "rest_client_requests_total",
            "Requests to the API server, by HTTP status (or the class of failure when there was no answer).",
            ("method", "resource", "code"),
            registry=reg,
        )
        self.request_seconds = Histogram(
            "rest_client_request_duration_seconds",
            "Duration of requests to the API server.",
            ("method", "resource"),
            buckets=_REQUEST_BUCKETS,
            registry=reg,
        )
        self._controller_metrics(reg)
        self._queue_metrics(reg)
        self.leader = Gauge(
            "leader_election_master_status",
            "1 while this process holds the Lease of that name, else 0.",
            ("name",),
            registry=reg,
        )
        self.stale_cache_skips = Counter(
            "stale_cache_skips_total",
            "Reconciles put off because the cache had not yet seen our own last write.",
            ("resource",),
            registry=reg,
        )
        self.watch_events = Counter(
            "watch_events_total",
            "Changes that the watches delivered, after unchanged objects were dropped.",
            ("resource", "type"),
            registry=reg,
        )
        self.watch_lists = Counter(
            "watch_lists_total", "Complete lists that the watches took.", ("resource",), registry=reg
        )
        self.watch_restarts = Counter(
            "watch_restarts_total", "Restarts of the whole watch engine, by cause.", ("cause",), registry=reg
        )
        self.cached_objects = Gauge("watch_cached_objects", "Objects held in the cache.", ("resource",), registry=reg)
        self.events = Counter("kubernetes_events_total", "Events written, by result.", ("result",), registry=reg)

    def _controller_metrics(self, reg: CollectorRegistry) -> None:
        by_controller = ("controller",)
        self.reconciles = Counter(
            "controller_runtime_reconcile_total",
            "Reconciles by result: success, error, requeue, requeue_after.",
            ("controller", "result"),
            registry=reg,
        )
        self.reconcile_errors = Counter(
            "controller_runtime_reconcile_errors_total", "Reconciles that failed.", by_controller, registry=reg
        )
        self.terminal_errors = Counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Reconciles that failed in a way that a retry cannot mend.",
            by_controller,
            registry=reg,
        )
        self.reconcile_panics = Counter(
            "controller_runtime_reconcile_panics_total",
            "Reconciles that ended with an exception nobody expected.",
            by_controller,
            registry=reg,
        )
        self.reconcile_timeouts = Counter(
            "controller_runtime_reconcile_timeouts_total",
            "Reconciles that were cut off at their deadline.",
            by_controller,
            registry=reg,
        )
        self.reconcile_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Duration of a reconcile.",
            by_controller,
            buckets=_WORK_BUCKETS,
            registry=reg,
        )
        self.active_workers = Gauge(
            "controller_runtime_active_workers", "Workers that reconcile now.", by_controller, registry=reg
        )
        self.max_workers = Gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Workers that may reconcile at once.",
            by_controller,
            registry=reg,
        )

    def _queue_metrics(self, reg: CollectorRegistry) -> None:
        by_name = ("name",)
        self.queue_depth = Gauge("workqueue_depth", "Keys that wait for a worker.", by_name, registry=reg)
        self.queue_adds = Counter("workqueue_adds_total", "Keys put in line.", by_name, registry=reg)
        self.queue_wait_seconds = Histogram(
            "workqueue_queue_duration_seconds",
            "How long a key waited for a worker.",
            by_name,
            buckets=_WORK_BUCKETS,
            registry=reg,
        )
        self.queue_work_seconds = Histogram(
            "workqueue_work_duration_seconds",
            "How long the work on a key took.",
            by_name,
            buckets=_WORK_BUCKETS,
            registry=reg,
        )
        self.queue_unfinished = Gauge(
            "workqueue_unfinished_work_seconds",
            "Sum of the ages of the work in progress.",
            by_name,
            registry=reg,
        )
        self.queue_longest = Gauge(
            "workqueue_longest_running_processor_seconds",
            "Age of the oldest work in progress.",
            by_name,
            registry=reg,
        )
        self.queue_retries = Counter(
            "workqueue_retries_total", "Keys that were put off by the back-off.", by_name, registry=reg
        )
