"""A move that ends at any moment: what is published is whole, the next attempt sends only the rest."""

import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataver
from dataver.errors import DataverError, StoreError
from dataver.repository import RepositoryCore as Core
from dataver.repository.layout import CONFIG
from dataver.testing.faulty import Crash, Fault
from dataver.testing.lying import Answer, LyingStore
from properties import examples

from .conftest import End

PREFIXES = ("packs/", "trees/", "datasets/", "lineage/")


def whole(filled):
    """Return how many versions the target has published, after checking that all of them are whole."""
    names = {
        f"{name}@{label}"
        for name, labels in filled.target.open()._core.records.datasets().items()
        for label in labels
    }
    if names:
        report = filled.source.open().push(filled.target.open(), sorted(names), lineage=False, verify=True)
        assert report.problems == []
        assert report.there == len(names)
    return len(names)


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault))
def test_a_fault_at_any_write_costs_nothing_but_another_attempt(filled, fault):
    """For every N: the N-th write fails; the versions there verify, a retry sends what is missing."""
    reference = {prefix: filled.source.objects(prefix) for prefix in PREFIXES}
    number = 0
    while True:
        number += 1
        filled.target = End(filled.root, f"target {fault} {number}")
        try:
            filled.source.open().push(filled.target.open({number: fault}))
            if len(filled.target.store.writes) < number:
                break
        except (Crash, StoreError):
            pass
        whole(filled)
        before = set(filled.target.inner.objects)
        assert filled.source.open().push(filled.target.open()).problems == []
        assert not before & set(filled.target.store.writes)
        for prefix in PREFIXES:
            assert filled.target.objects(prefix) == reference[prefix]
    assert number > 12


def lying(end, number):
    """Return a repository whose store says of the N-th request that the key exists, and the store."""
    store = LyingStore(end.inner, number, Answer.EXISTS)
    return dataver.Repository(Core(store, end.config), end.inner.url), store


@pytest.mark.slow
@pytest.mark.parametrize(
    "move",
    [
        lambda source, target: source.push(target),
        lambda source, target: target.pull(source),
        dataver.mirror,
    ],
    ids=["push", "pull", "mirror"],
)
def test_a_key_that_is_said_to_exist_is_looked_at(filled, move):
    """A target that refuses to write a pack or a block, as if it were there, is not believed."""
    number = 0
    while True:
        number += 1
        filled.target = End(filled.root, f"target {number}")
        filled.target.open()
        repository, store = lying(filled.target, number)
        with contextlib.suppress(DataverError):
            move(filled.source.open(), repository)
        whole(filled)
        if store.asked < number:
            return


def test_a_mirror_that_is_said_to_hold_repacked_packs_is_looked_at(filled):
    """A repack of the copied side that gets the same answer loses nothing, and a repetition finishes it."""
    dataver.mirror(filled.source.open(), filled.target.open())
    filled.target.open().delete("vision/cats", entire_dataset=True, force=True)
    mirrored = filled.target.inner.objects | {CONFIG: filled.target.config.encode()}
    met = number = 0
    while True:
        number += 1
        filled.target.inner.objects.clear()
        filled.target.inner.objects.update(mirrored)
        repository, store = lying(filled.target, number)
        with contextlib.suppress(DataverError):
            repository.repack(dead=0.01)
        assert filled.target.open().verify().findings == []
        met += store.met
        if store.asked < number:
            break
    assert met
    assert filled.target.open().repack(dead=0.01).packs == 0


_CHILD = """
import os, sys, time
import dataver
from dataver.storage.local import LocalStore

def slow(method):
    def call(self, key, *rest):
        time.sleep(0.004)
        return method(self, key, *rest)
    return call

LocalStore.put_new, LocalStore.create = slow(LocalStore.put_new), slow(LocalStore.create)
print("ready", flush=True)
dataver.mirror(sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_mirrors_are_finished_by_the_next(tmp_path, monkeypatch, kills):
    """Kill -9 at random moments of one mirror, again and again: each goes on, the last one verifies."""
    noise = random.Random(11)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    source = dataver.init(tmp_path / "source")
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(25):
        (folder / f"{number}").write_bytes(noise.randbytes(20_000))
        source.sync(folder, "a/b", workspace=tmp_path)
    source.tag("a/b@1.0.3", "production")
    target = tmp_path / "target 0"
    seen = 0
    for number in range(1, kills + 1):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path / "source"), str(target)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(noise.uniform(0.0, 0.25))  # the moment to die is what this test is about
        os.kill(process.pid, signal.SIGKILL)
        ended = process.wait()
        process.stdout.close()
        if ended == 0:  # it was done before: the next one begins anew
            target, seen = tmp_path / f"target {number}", 0
        if (target / "dataver.json").exists():
            there = dataver.open(target)
            labels = there._core.records.labels("a/b")
            assert len(labels) >= seen
            seen = len(labels)
            for label in labels[-2:]:
                assert there.verify(f"a/b@{label}").ok
    report = dataver.mirror(tmp_path / "source", target, verify=True)
    assert report.problems == []
    assert len(dataver.open(target).versions("a/b")) == 25
    for kind in ("packs", "trees", "datasets"):
        ours, theirs = (
            {path.relative_to(root): path.read_bytes() for path in (root / kind).rglob("*") if path.is_file()}
            for root in (tmp_path / "source", target)
        )
        left = {name for name in theirs.keys() - ours.keys() if not name.name.startswith(".tmp-")}
        assert not left
        assert {name: theirs[name] for name in ours} == ours


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "a/c"]), st.sampled_from(["source", "target"]), st.integers(0, 4)
        ),
        min_size=1,
        max_size=6,
    ),
    chosen=st.lists(st.sampled_from(["a", "b", "a/c"]), unique=True, max_size=2),
)
def test_whatever_both_hold_what_is_asked_for_arrives_or_is_named(tmp_path, steps, chosen):
    """Any versions on both sides: afterwards what was chosen is in the target, or named in a conflict."""
    root = tmp_path / secrets.token_hex(4)
    root.mkdir()
    ends = {name: End(root, name) for name in ("source", "target")}
    for dataset, where, number in steps:
        folder = root / "data"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}").write_bytes(f"{dataset} {number}".encode() * 40 * number)
        ends[where].open().sync(folder, dataset, workspace=root)
    refs = [name for name in chosen if ends["source"].open()._core.records.labels(name)]
    source = ends["source"].open()
    wanted = [
        source._core.records.get(name, label)
        for name in (refs or source._core.records.datasets())
        for label in source._core.records.labels(name)
    ]
    report = source.push(ends["target"].open(), refs, verify=True)
    named = {name for name, _ in report.problems}
    target = ends["target"].open()
    for version in wanted:
        if version.record.label not in target._core.records.labels(version.record.dataset):
            assert version.ref in named  # a child, whose parent is another version there
            continue
        found = target._core.records.get(version.record.dataset, version.record.label)
        assert (found == version) == (version.ref not in named)
        assert target.verify(version.ref).ok
