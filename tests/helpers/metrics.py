"""Read metrics of this process, and check the text format with promtool."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.engine.metrics import REGISTRY
from tests.helpers.children import finished

Series = tuple[str, tuple[str, ...]]
"""The name of a sample and the values of its labels, in the order of the labels' names."""


def parsed(text: str) -> dict[Series, float]:
    """Return the samples of a text in Prometheus's format."""
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counted() -> dict[Series, float]:
    """Return the samples of this process that are not 0."""
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.value
    }


@contextmanager
def grown() -> Iterator[dict[Series, float]]:
    """Yield a dictionary that has, after the block, by how much each sample of the program has grown."""
    found: dict[Series, float] = {}
    before = counted()
    yield found
    for series, value in counted().items():
        grew = value - before.get(series, 0)
        if grew and series[0].startswith("tallyman_") and not series[0].endswith("_created"):
            found[series] = grew


def lint(text: str) -> str:
    """Return what `promtool check metrics` says about a text; empty: nothing. Skips the test without promtool."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as given:
        given.write(text)
        given.seek(0)
        done = finished(promtool, "check", "metrics", stdin=given)
    return (done.stdout + done.stderr) if done.returncode or done.stderr else done.stdout
