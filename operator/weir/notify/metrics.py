"""Metrics of notifications."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class NotifyMetrics:
    """Alerts by destination and result (sent, failed, refused, dropped), and what waits."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self.alerts = Counter(
            "weir_notifications_total",
            "Alerts by result: sent, failed (given up), refused (by the receiver) or dropped (too many waited).",
            ("destination", "result"),
            registry=registry,
        )
        self.retries = Counter(
            "weir_notification_retries_total",
            "Attempts to deliver that failed and were repeated.",
            ("destination",),
            registry=registry,
        )
        self.waiting = Gauge(
            "weir_notification_queue_length", "Alerts that wait to be sent.", ("destination",), registry=registry
        )
        self.problems = Gauge(
            "weir_notification_config_problems",
            "Parts of the notifications' configuration that cannot be used.",
            registry=registry,
        )
        self.template_errors = Counter(
            "weir_notification_template_errors_total",
            "Templates that failed; Weir's own text was sent instead.",
            ("kind",),
            registry=registry,
        )

    def forget(self, destination: str) -> None:
        """Drops the gauge of a destination that is gone."""
        self.waiting.remove_by_labels({"destination": destination})
