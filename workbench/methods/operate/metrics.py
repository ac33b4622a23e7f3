"""What a gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60)


class Metrics:
    """Counters and gauges of one gateway; no label holds what a person wrote."""

    def __init__(self) -> None:
        self._all = CollectorRegistry()
        told = {"registry": self._all}
        labels = ["outcome", "reason", "arm", "kind"]
        self.requests = Counter("workbench_requests", "Decisions given.", labels, **told)
        self.latency = Histogram("workbench_latency_seconds", "From the request read to the "
                                 "answer ready.", buckets=BUCKETS, **told)  # fmt: skip
        self.turned_away = Counter("workbench_turned_away", "Requests without a decision: no "
                                   "token, no right, too many.", ["status"], **told)  # fmt: skip
        self.unlogged = Counter("workbench_unlogged", "Answers that were not given as their line "
                                "could not be written.", **told)  # fmt: skip
        self.torn = Gauge("workbench_log_torn", "Did a writer before leave a line without an end?",
                          **told)  # fmt: skip
        self.lease = Gauge("workbench_lease_age_seconds", "Of the lease in force.", **told)
        self.restarts = Gauge("workbench_worker_restarts", "Since the gateway started.", **told)
        self.memory = Gauge("workbench_worker_memory_bytes", "Resident.", **told)

    def page(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._all)
