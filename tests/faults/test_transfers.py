"""Upload and fetch of a whole dataset over networks that fail, each in one way and all ways at once."""

import itertools
import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

import dataver
from servers.fault_schedule import FaultSchedule
from servers.proxy import Break, FaultyNetwork

from .conftest import FULL, sums_of, write_line

_OFTEN = 0.25 if FULL else 0.35  # with so few requests, each fault has to be likely to be met at all


class Case(NamedTuple):
    """A network: what happens to requests, and how slow it is."""

    name: str
    chances: Mapping[Break, float] = MappingProxyType({})
    burst: int = 1
    network: Mapping[str, float] = MappingProxyType({})


CASES = [
    Case("none"),
    Case("latency of 100 ms", network={"latency": 0.1}),
    Case("30 MB/s", network={"bandwidth": 30e6}),
    Case("connection refused or reset at once", {Break.RESET_BEFORE: _OFTEN}),
    Case("reset in the middle of what is sent", {Break.CUT_SENT: _OFTEN}),
    Case("reset in the middle of the reply", {Break.CUT_BODY: _OFTEN}),
    Case("reply truncated, its headers too", {Break.SHORT_BODY: _OFTEN}),
    Case("bursts of 500", {Break.INTERNAL: 0.1}, burst=6),
    Case(
        "bursts of 503 SlowDown, Retry-After 1", {Break.SLOW_DOWN: 0.1}, burst=6, network={"retry_after": 1}
    ),
    Case("reply lost after the server acted", {Break.LOSE_REPLY: _OFTEN}),
    Case("no reply at all", {Break.HANG: 0.08}),
    Case("a bit flipped in the reply", {Break.FLIP: _OFTEN}),
    Case("a bit flipped in what is sent", {Break.FLIP_SENT: _OFTEN}),
]
CASES.append(
    Case(
        "all of these",
        {each: 0.03 for case in CASES for each in case.chances} | {Break.HANG: 0.01},
        burst=3,
        network={"latency": 0.02, "bandwidth": 60e6},
    )
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dataset_comes_through(case, source, sums, server, workplace, monkeypatch):
    """Published once, under the first label; fetched elsewhere, every file is right; `verify` is clean."""
    url = server.url(f"faults/{secrets.token_hex(6)}")
    monkeypatch.chdir(workplace)
    whole = dataver.init(url, storage_options=server.options)

    with FaultyNetwork(
        server.endpoint, FaultSchedule(case.chances, burst=case.burst), **case.network
    ) as network:
        options = server.options | {
            "endpoint_url": network.endpoint,
            "config_kwargs": {"read_timeout": 10 if FULL else 4},
        }
        marks = [_mark(network)]
        monkeypatch.setenv("DATAVER_CACHE", str(workplace / "here"))
        sent = dataver.open(url, storage_options=options).sync(source, "d").upload
        marks.append(_mark(network))
        monkeypatch.setenv("DATAVER_CACHE", str(workplace / "there"))
        report = dataver.open(url, storage_options=options).fetch("d")
        marks.append(_mark(network))
        met = sum(network.broken.values())

    right = sums_of(report.path) == sums
    steps = [
        (f"{after[0] - before[0]:.1f}", after[1] - before[1], f"{(after[2] - before[2]) / 1e6:.0f}")
        for before, after in itertools.pairwise(marks)
    ]
    write_line(case.name, met, *steps[0], *steps[1], "yes" if right else "NO")
    assert right
    assert met or not case.chances, "this fault was not met: the test showed nothing"
    assert sent.version.ref == "d@1.0.0"
    assert [version.label for version in whole.versions("d")] == ["1.0.0"]
    monkeypatch.setenv("DATAVER_CACHE", str(workplace / "elsewhere"))
    assert whole.verify("d").findings == []


def _mark(network):
    return time.perf_counter(), len(network.seen), network.passed
