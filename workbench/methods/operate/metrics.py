"""What a gateway counts, for Prometheus; no label holds what a person wrote."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60)
LABELS = ("outcome", "reason", "arm", "kind")


class Metrics:
    """Counters and gauges of one gateway."""

    def __init__(self) -> None:
        self._all = CollectorRegistry()
        here = {"namespace": "workbench", "registry": self._all}
        self.requests = Counter("requests", "Decisions given", LABELS, **here)
        self.latency = Histogram("latency_seconds", "Of a decision", buckets=BUCKETS, **here)
        self.turned_away = Counter("turned_away", "Requests not read as one", ["status"], **here)
        self.unlogged = Counter("unlogged", "Answers kept back as no line was written", **here)
        self.torn = Gauge("log_torn", "A writer before left a line without its end", **here)
        self.lease = Gauge("lease_age_seconds", "Of the lease in force", **here)
        self.restarts = Gauge("worker_restarts", "Since the gateway started", **here)
        self.memory = Gauge("worker_memory_bytes", "Resident", **here)

    def page(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._all)
