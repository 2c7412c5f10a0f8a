"""Metrics for Prometheus. No label contains user ids, slugs or other input of clients."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from segsvc.observability.histograms import Histogram

# If this variable is set when prometheus_client is imported, several processes count together, in
# files of that folder.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

CONTENT_TYPE = CONTENT_TYPE_LATEST

disable_created_metrics()  # they double the series, and several processes do not support them

REQUEST_DURATION = Histogram(
    "segsvc_request_duration_seconds",
    "Time from the head of a request to the end of its response, by route.",
    ["method", "route", "status"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
    folder=os.environ.get(FOLDER),
)
READS_PER_QUERY = Histogram(
    "segsvc_reads_per_query",
    "Users whose segments were read by one query.",
    [],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
    folder=os.environ.get(FOLDER),
)
POOL_IN_USE = Gauge(
    "segsvc_pool_connections_in_use",
    "Connections that requests hold or wait for.",
    multiprocess_mode="livesum",
)
POOL_LIMIT = Gauge(
    "segsvc_pool_connections_limit",
    "Connections that the pools may open.",
    multiprocess_mode="livesum",
)
UNDER_WAY = Gauge(
    "segsvc_streams_under_way",
    "Exports (reports and members as CSV) and imports under way.",
    ["kind"],
    multiprocess_mode="livesum",
)
REFUSED_USERS = Counter(
    "segsvc_refused_new_users",
    "Unknown users about whom a key asked when its quota was used up.",
)
DATABASE_UP = Gauge(
    "segsvc_database_up",
    "1 if the database answered the last check, at most a second ago; otherwise 0.",
    multiprocess_mode="livemostrecent",
)
LOOP_BLOCKED = Gauge(
    "segsvc_event_loop_blocked_seconds",
    "Longest time in ten seconds for which a worker did one thing and answered nobody else.",
    multiprocess_mode="livemax",
)
KEY_LIST_AGE = Gauge(
    "segsvc_key_list_age_seconds",
    "Age of the list of API keys of the slowest worker: over 2 seconds, requests are refused.",
    multiprocess_mode="livemax",
)
DATABASE_WRITABLE = Gauge(
    "segsvc_database_writable",
    "1 if the database took writes at the last check, at most a second ago; otherwise 0.",
    multiprocess_mode="livemostrecent",
)


FEED_LAG = Gauge(
    "segsvc_feed_lag_seconds",
    "Age of the longest write under way, which the feed waits for; +Inf if the database hides it.",
    multiprocess_mode="livemostrecent",
)


_HISTOGRAMS = (REQUEST_DURATION, READS_PER_QUERY)
for _histogram in _HISTOGRAMS:
    REGISTRY.register(_histogram)


# Readings of the shared files that may fail while processes start and end.
RETRIES = 10


def exposition() -> bytes:
    """Return all metrics in the text format of Prometheus, added up over all processes."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    for histogram in _HISTOGRAMS:
        registry.register(histogram)
    for _ in range(RETRIES):
        # A file of a process that ends is gone before it is read, or one that starts is empty yet.
        with suppress(FileNotFoundError, struct.error):
            return generate_latest(registry)
    return generate_latest(registry)


@contextmanager
def shared() -> Iterator[dict[str, str]]:
    """Yield environment variables for processes that count together."""
    with TemporaryDirectory(prefix="segsvc-metrics-") as folder:
        yield {FOLDER: folder}


def forget(folder: str | Path, pid: int) -> None:
    """Drop the gauges of a process that ended; its counters stay."""
    mark_process_dead(pid, str(folder))
