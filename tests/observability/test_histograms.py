"""Histograms count as those of the client library do, and survive their processes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry

from segsvc.observability.histograms import Histogram

BUCKETS = (1, 2.5, 10)
VALUES = (0, 0.5, 1, 1.5, 2.5, 9.99, 10, 11, 10**9)

COUNT = """
import sys
from segsvc.observability.histograms import Histogram
found = Histogram("h", "Text.", ["a", "b"], (1, 2.5, 10), sys.argv[1])
for value in (0.5, 3):
    found.observe(value, ("x", 200))
found.observe(7, (sys.argv[2], 404))
print("done", flush=True)
sys.stdin.read()
"""


def samples(collector: Any) -> dict[tuple[str, tuple[str, ...]], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_counts_are_those_of_the_library() -> None:
    """Every bucket, the sum and the count are the same, bounds included."""
    ours = Histogram("h", "Text.", ["a", "b"], BUCKETS, None)
    theirs = prometheus_client.Histogram("h", "Text.", ["a", "b"], buckets=BUCKETS, registry=None)
    for value in VALUES:
        ours.observe(value, ("x", 200))
        theirs.labels("x", 200).observe(value)
    assert samples(ours) == samples(theirs)


def test_processes_count_together(tmp_path: Path) -> None:
    """What others count is seen at once, and stays when they are killed."""
    ours = Histogram("h", "Text.", ["a", "b"], BUCKETS, str(tmp_path))
    ours.observe(1, ("x", 200))
    processes = []
    for label in ("y", "z"):
        command = [sys.executable, "-c", COUNT, str(tmp_path), label]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
        )
        assert process.stdout
        assert process.stdout.readline() == b"done\n"
        processes.append(process)
    before = samples(ours)
    for process in processes:
        process.kill()
        process.communicate()
    assert before == samples(ours)
    assert before["h_count", ("x", "200")] == 5
    assert before["h_sum", ("x", "200")] == 8
    assert before["h_bucket", ("x", "200", "2.5")] == 3
    assert before["h_count", ("y", "404")] == before["h_count", ("z", "404")] == 1
