"""A whole repository against a plain dict: in any order of commands, versions hold what they should."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

import dataver
from dataver.errors import InvalidInput
from dataver.machine.deep_folders import remove_folder

NAMES = ["a.txt", "b.bin", "c", "sub/a.txt", "sub/d", "sub/deep/e", "x/f", "x.y"]
CONTENTS = [b"", b"one", b"two" * 2000, bytes(range(256)) * 700, os.urandom(150_000), b"z" * 90_000]
CHOICES = st.dictionaries(
    st.sampled_from(NAMES), st.integers(0, len(CONTENTS) - 1), min_size=1, max_size=5
)  # numbers of contents: hypothesis prints what it draws


def write(folder: Path, files: dict[str, bytes]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    folder.mkdir(exist_ok=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


class RepositoryMachine(RuleBasedStateMachine):
    """The model: each version's files, each draft's files, each tag's version."""

    versions = Bundle("versions")

    @initialize()
    def start(self):
        self.home = Path(tempfile.mkdtemp(prefix="dataver-machine-"))
        self.cache_before = os.environ.get("DATAVER_CACHE")
        os.environ["DATAVER_CACHE"] = str(self.home / "cache")
        self.repo = dataver.init(self.home / "repo")
        self.workspace = self.home / "work"
        self.published: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.draft, self.files, self.base = None, {}, {}
        self.count = 0

    def teardown(self):
        if hasattr(self, "home"):
            shutil.rmtree(self.home, ignore_errors=True)
            if self.cache_before is None:
                os.environ.pop("DATAVER_CACHE", None)
            else:
                os.environ["DATAVER_CACHE"] = self.cache_before

    @rule(parent=st.one_of(st.none(), versions), dataset=st.sampled_from(["d", "e/f"]))
    def create(self, parent, dataset):
        if self.draft is not None:
            return
        self.draft = self.repo.create(dataset, parents=[parent] if parent else [], workspace=self.workspace)
        self.files = dict(self.published[parent]) if parent else {}
        self.base = dict(self.files)

    @rule(choice=CHOICES, dest=st.sampled_from(["", "sub", "new/place"]))
    def add(self, choice, dest):
        if self.draft is None:
            return
        files = {name: CONTENTS[number] for name, number in choice.items()}
        incoming = {f"{dest}/{name}" if dest else name: data for name, data in files.items()}
        report = self.draft.add(write(self.home / "src", files), dest=dest)
        refused = {name for name, _ in report.problems}
        for name, data in incoming.items():
            if name in refused:
                assert any(path.startswith(f"{name}/") for path in self.files)
                continue
            for folder in Path(name).parents:
                self.files.pop(folder.as_posix(), None)
            self.files[name] = data

    @rule(choice=CHOICES)
    def mirror(self, choice):
        if self.draft is None:
            return
        files = {name: CONTENTS[number] for name, number in choice.items()}
        self.draft.sync(write(self.home / "src", files), allow_shrink=True)
        self.files = dict(files)

    @rule(data=st.data())
    def remove(self, data):
        if self.draft is None or not self.files:
            return
        name = data.draw(st.sampled_from(sorted(self.files)))
        gone = self.draft.remove(f"/{name}")
        assert gone == [name]
        del self.files[name]

    @rule(data=st.data())
    def move(self, data):
        if self.draft is None or not self.files:
            return
        name = data.draw(st.sampled_from(sorted(self.files)))
        self.count += 1
        self.draft.move(name, f"moved-{self.count}")
        self.files[f"moved-{self.count}"] = self.files.pop(name)

    @rule(target=versions)
    def publish(self):
        if self.draft is None:
            return multiple()
        if self.files == self.base:
            try:
                self.draft.finalize()
            except InvalidInput:
                pass
            else:
                raise AssertionError("an empty change was finalized")
        self.draft.finalize(allow_empty=True)
        version = self.draft.upload(allow_fork=True).version  # as it is, whatever its parent
        self.draft = None
        self.published[version.ref] = self.files
        return version.ref

    @rule()
    def discard(self):
        if self.draft is not None:
            self.draft.discard()
            self.draft = None

    @rule(version=versions)
    def fetch(self, version):
        target = self.home / "out"
        shutil.rmtree(target, ignore_errors=True)
        self.repo.fetch(version, dest=target)
        assert contents(target) == self.published[version]

    @rule(version=versions)
    def fetch_into_the_cache(self, version):
        assert contents(self.repo.fetch(version).path) == self.published[version]

    @rule(old=versions, new=versions)
    def compare(self, old, new):
        before, after = self.published[old], self.published[new]
        difference = self.repo.diff(old, new)
        assert {each.path for each in difference.modified} == {
            name for name in before.keys() & after.keys() if before[name] != after[name]
        }
        added = {each.path for each in difference.added} | {each.path for _, each in difference.renamed}
        removed = {each.path for each in difference.removed} | {each.path for each, _ in difference.renamed}
        assert added == after.keys() - before.keys()
        assert removed == before.keys() - after.keys()

    @rule(version=versions, tag=st.sampled_from(["production", "best"]))
    def tag(self, version, tag):
        self.repo.tag(version, tag)
        self.tags[f"{version.split('@')[0]}@{tag}"] = version

    @rule(version=versions)
    def verify(self, version):
        assert self.repo.verify(version).ok

    @rule()
    def lose_the_cache(self):
        """Invariant 5: indexes and caches can go at any time."""
        remove_folder(self.home / "cache")

    @rule()
    def another_process(self):
        """Nothing that matters is only in memory."""
        self.repo = dataver.open(self.home / "repo")
        if self.draft is not None:
            self.draft = self.repo.draft(self.draft.id, workspace=self.workspace)

    @invariant()
    def the_draft_holds_what_it_should(self):
        if getattr(self, "draft", None) is not None:
            assert [entry.path for entry in self.draft.tree.iterate()] == sorted(self.files)

    @invariant()
    def tags_point_where_they_were_put(self):
        for tag, version in getattr(self, "tags", {}).items():
            assert self.repo.version(tag).ref == version


RepositoryMachine.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_repository_machine = RepositoryMachine.TestCase
