"""A repository that is cleaned up in any order against a plain dict: what is there is whole, and adds up."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dataver.errors import IntegrityError
from dataver.machine.deep_folders import remove_folder

from .conftest import NOW, ClockedStore, World

NAMES = [f"{number:02}" for number in range(12)]
CONTENTS = [random.Random(number).randbytes(1 + 9_000 * number) for number in range(10)]
FILES = st.dictionaries(
    st.sampled_from(NAMES), st.integers(0, len(CONTENTS) - 1), min_size=1, max_size=8
)  # numbers of contents: hypothesis prints what it draws
STORED = ("packs/", "trees/")


class KeepingMachine(RuleBasedStateMachine):
    """The model: each version's files, and the labels of deleted ones."""

    @initialize()
    def start(self):
        self.home = Path(tempfile.mkdtemp(prefix="dataver-keeping-"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("DATAVER_CACHE", str(self.home / "cache"))
        self.patch.chdir(self.home)
        (self.home / "world").mkdir()
        self.world = World(self.home / "world", ClockedStore())
        self.old_reader = self.world.open()
        self.versions: dict[str, dict[str, bytes]] = {}
        self.gone: set[str] = set()

    def teardown(self):
        if hasattr(self, "home"):
            self.patch.undo()
            shutil.rmtree(self.home, ignore_errors=True)

    def choose(self, data):
        return data.draw(st.sampled_from(sorted(self.versions))) if self.versions else None

    @rule(choice=FILES, dataset=st.sampled_from(["d", "e/f"]))
    def publish(self, choice, dataset):
        files = {name: CONTENTS[number] for name, number in choice.items()}
        version = self.world.publish(dataset, files)
        if version is not None:
            assert version.ref not in self.versions.keys() | self.gone
            self.versions[version.ref] = files

    @rule(data=st.data())
    def delete(self, data):
        ref = self.choose(data)
        if ref:
            self.world.repo.delete(ref)
            del self.versions[ref]
            self.gone.add(ref)

    @rule(data=st.data())
    def delete_and_free_as_foretold(self, data):
        """What du calls unique is what goes, to the byte, once all else is free."""
        ref = self.choose(data)
        if ref:
            self.world.repo.gc(grace=NOW, delete_most=True)
            before = self.world.size(*STORED)
            (usage,) = self.world.repo.du(ref).versions
            assert usage.logical == sum(map(len, self.versions[ref].values()))
            self.world.repo.delete(ref)
            report = self.world.repo.gc(grace=NOW, delete_most=True)
            assert before - self.world.size(*STORED) == usage.unique
            assert report.packs + report.blocks or not usage.unique
            del self.versions[ref]
            self.gone.add(ref)

    @rule()
    def free(self):
        before = self.world.size(*STORED)
        plan = self.world.repo.plan_gc(grace=NOW)
        stored = sum(info.size for info in (*plan.packs, *plan.blocks))
        report = self.world.repo.gc(grace=NOW, delete_most=True)
        assert (report.packs, report.blocks) == (len(plan.packs), len(plan.blocks))
        assert before - self.world.size(*STORED) == stored
        assert self.world.repo.du().unneeded == 0

    @rule(days=st.integers(1, 20))
    def free_with_grace(self, days):
        self.world.later(days=days)
        report = self.world.repo.gc(delete_most=True)
        assert report.spared == 0

    @rule(dead=st.sampled_from([0.1, 0.3, 0.5, 0.9]))
    def repack(self, dead):
        digests = {ref: self.world.repo.version(ref).digest for ref in self.versions}
        self.world.repo.repack(dead=dead)
        assert not self.world.repo.plan_repack(dead=dead).packs
        assert {ref: self.world.open().version(ref).digest for ref in self.versions} == digests

    @rule(data=st.data())
    def fetch(self, data):
        ref = self.choose(data)
        if ref:
            target = self.home / "out"
            shutil.rmtree(target, ignore_errors=True)
            self.old_reader.fetch(ref, dest=target)
            assert {path.name: path.read_bytes() for path in target.iterdir()} == self.versions[ref]

    @rule(data=st.data())
    def read_with_an_old_layout(self, data):
        ref = self.choose(data)
        if ref:
            version = self.old_reader.version(ref)
            name = data.draw(st.sampled_from(sorted(self.versions[ref])))
            assert version.read(name) == self.versions[ref][name]

    @rule(choice=FILES, data=st.data())
    def a_draft_whose_parent_goes(self, choice, data):
        """It is published whole, or not at all."""
        parent = self.choose(data)
        if parent is None:
            return
        draft = self.world.repo.create("d", parents=[parent], workspace=self.world.root)
        files = {name: CONTENTS[number] for name, number in choice.items()}
        for path in self.world.source.iterdir():
            path.unlink()
        for name, content in files.items():
            (self.world.source / name).write_bytes(content)
        draft.add(self.world.source)
        draft.finalize(allow_empty=True)
        files = self.versions[parent] | files
        self.world.repo.delete(parent)
        del self.versions[parent]
        self.gone.add(parent)
        if data.draw(st.booleans()):
            self.world.repo.gc(grace=NOW, delete_most=True)
        try:
            self.versions[draft.upload(allow_fork=True).version.ref] = files
        except IntegrityError:
            draft.discard()

    @rule()
    def lose_the_cache(self):
        remove_folder(self.home / "cache")

    @invariant()
    def every_version_is_whole(self):
        if hasattr(self, "world"):
            assert set(self.world.all_right()) == set(self.versions)

    @invariant()
    def the_bytes_add_up(self):
        if hasattr(self, "world"):
            report = self.world.open().du()
            assert report.needed + report.unneeded == self.world.size(*STORED)
            assert report.stored == self.world.size("")
            assert len(report.versions) == len(self.versions)


TestKeeping = KeepingMachine.TestCase
TestKeeping.settings = settings(
    max_examples=int(os.environ.get("DATAVER_EXAMPLES", "8")),
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
