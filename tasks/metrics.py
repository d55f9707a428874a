"""What Prometheus reads: work by state, GPU-seconds, failures and checks, straight from the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import sql

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(db: sql.Database) -> bytes:
    """The figures of this moment in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(db))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, db: sql.Database) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        health = sql.health(self._db)
        yield _gauge("samaflow_jobs", "Jobs by state.", "state", sql.counts(self._db))
        yield _gauge("samaflow_chunks_waiting", "Chunks planned and not edited.", "editor", health.chunks_waiting)
        yield _counter("samaflow_gpu_seconds", "Seconds that workers held a device.", "editor", health.gpu_seconds)
        yield _counter("samaflow_attempts", "Tries of workers by how they ended.", "category", health.attempts)
        yield _counter("samaflow_failures", "Jobs that failed, by category.", "category", health.failures)
        yield _counter("samaflow_rows_refused", "Rows that a run did not take.", "category", health.refusals)
        checks = CounterMetricFamily("samaflow_checks", "Checks of finished files.", labels=["check", "result"])
        for (name, passed), count in health.checks.items():
            checks.add_metric([name, "passed" if passed else "failed"], count)
        yield checks
        oldest = GaugeMetricFamily("samaflow_oldest_waiting_seconds", "Age of the job that has waited longest.")
        oldest.add_metric([], health.oldest_waiting_seconds)
        yield oldest
        last = GaugeMetricFamily("samaflow_last_delivery_timestamp_seconds", "When the last file was delivered.")
        last.add_metric([], health.last_delivery)
        yield last


def _gauge(name: str, help_text: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _counter(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family
