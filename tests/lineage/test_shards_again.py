"""Shards and exclusions in lineage: what a fetch of one says, and what `fetch_run` brings back."""

from datetime import UTC, datetime

import pytest

import dataver
from dataver.formats.event import Event, Link, RunFacts, Subset, new_event_id
from dataver.tree.shard import split

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
NAMES = [f"{part}/{number:02d}.bin" for part in ("test", "train") for number in range(40)]


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository with one version of eighty files in two folders."""
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 5000)
    made = dataver.init(tmp_path / "repo")
    made.sync("source", "d")
    return made


def say(repo, *subsets):
    """Write that the run `ray:1` read these parts, each told by a process of its own."""
    version = repo.version("d")
    for number, subset in enumerate(subsets):
        link = Link(
            role="input",
            dataset="d",
            label=version.label,
            record=version.record_id,
            tree=version.digest.removeprefix("dv1:"),
            subset=subset,
            files=1,
            size=1,
            time=NOW,
            how="fetch",
        )
        facts = RunFacts(key="ray:1", process=f"{number:032x}", sequence=1, started=NOW)
        repo._core.events.put(Event(id=new_event_id(), written=NOW, tool="a test", run=facts, links=(link,)))


def part(ranks, world, prefix=""):
    """Return the names in some parts, found out by hand."""
    names = [name for name in NAMES if name.startswith(prefix)]
    found = split([(name, 5000) for name in names], world).ranks
    return {name for name, rank in zip(names, found, strict=True) if rank in ranks}


TRAIN = ("train/**",)
TESTS = {name for name in NAMES if name.startswith("test/") and name.endswith(("1.bin", "2.bin"))}
NINES = {
    name for name in NAMES if name.startswith("train/") and not name.endswith(("19.bin", "29.bin", "39.bin"))
}


@pytest.mark.parametrize(
    ("subsets", "expected"),
    [
        ([Subset(shard=(1, 3))], part({1}, 3)),
        ([Subset(shard=(0, 4)), Subset(shard=(2, 4))], part({0, 2}, 4)),
        ([Subset(shard=(0, 2)), Subset(shard=(1, 2))], set(NAMES)),
        ([Subset(shard=(0, 2), patterns=TRAIN)], part({0}, 2, "train")),
        ([Subset(shard=(rank, 2), patterns=TRAIN) for rank in (0, 1)], part({0, 1}, 2, "train")),
        (
            [Subset(shard=(0, 3), patterns=TRAIN), Subset(paths=("test/07.bin",))],
            part({0}, 3, "train") | {"test/07.bin"},
        ),
        ([Subset(shard=(0, 3)), Subset(shard=(1, 2))], part({0}, 3) | part({1}, 2)),
        ([Subset(shard=(0, 3)), Subset()], set(NAMES)),
        ([Subset(exclude=TRAIN)], part({0}, 1, "test")),
        ([Subset(patterns=("*1.bin",), exclude=TRAIN), Subset(patterns=("*2.bin",), exclude=TRAIN)], TESTS),
        ([Subset(patterns=("*1.bin", "*2.bin"), exclude=TRAIN), Subset(exclude=TRAIN)], part({0}, 1, "test")),
        ([Subset(exclude=TRAIN), Subset(exclude=("test/**",))], set(NAMES)),
        ([Subset(exclude=("test/**", "*9.bin")), Subset(paths=("train/09.bin",))], NINES),
        ([Subset(exclude=TRAIN), Subset()], set(NAMES)),
        ([Subset(shard=(0, 2), exclude=TRAIN)], part({0}, 2, "test")),
        ([Subset(shard=(0, 2), exclude=TRAIN), Subset(shard=(1, 2))], part({0}, 2, "test") | part({1}, 2)),
        ([Subset(shard=(rank, 2), exclude=TRAIN) for rank in (0, 1)], part({0}, 1, "test")),
    ],
)
def test_a_run_that_read_parts_is_fetched_again(repo, tmp_path, subsets, expected):
    """Shards, selections with exclusions, files, alone and together: exactly their union."""
    say(repo, *subsets)
    repo.fetch_run("ray:1", dest=tmp_path / "again")
    found = {path.relative_to(tmp_path / "again").as_posix() for path in (tmp_path / "again").rglob("*.bin")}
    assert found == expected


def test_a_fetch_of_a_shard_says_so(lab):
    """The link names globs, rank and world, and of a node's fetch every rank of it, with its files."""
    lab.run(
        """
        import dataver
        dataver.fetch("cats", shard=(1, 2), include=["train/**"], run="mlflow:a")
        dataver.fetch("cats", shard=([0, 1], 3), run="mlflow:b")
        dataver.fetch("cats", shard=(0, 1), run="mlflow:c")
        """
    )
    said = {}
    for event in lab.events():
        for link in event.links:
            said.setdefault(event.run.key, {})[link.subset] = (link.files, link.size)
    assert set(said["mlflow:a"]) == {Subset(patterns=("train/**",), shard=(1, 2))}
    assert set(said["mlflow:b"]) == {Subset(shard=(0, 3)), Subset(shard=(1, 3))}
    assert said["mlflow:c"] == {Subset(): (2, 6)}
    version = dataver.open(lab.repository).version("cats")
    ranks = split([(entry.path, entry.size) for entry in version.entries()], 3).ranks
    for rank in (0, 1):
        sizes = [entry.size for entry, at in zip(version.entries(), ranks, strict=True) if at == rank]
        assert said["mlflow:b"][Subset(shard=(rank, 3))] == (len(sizes), sum(sizes))


def test_a_fetch_with_exclusions_says_so(lab):
    """The link names what was left out, of a shard and of declared data too, and counts the rest."""
    lab.run(
        """
        import dataver
        dataver.fetch("cats", exclude="*.csv", run="mlflow:a")
        dataver.fetch("cats", include="**", exclude=["*.csv", "none"], shard=(0, 2), run="mlflow:b")
        dataver.use("cats", exclude="train", run="mlflow:c")
        with dataver.run(key="mlflow:d") as run:
            run.use("cats", include="*.jpg", exclude="labels.csv")
        dataver.open().version("cats").fetch(exclude="*.csv", run="mlflow:e")
        """
    )
    said = {
        event.run.key: (link.subset, link.files, link.size) for event in lab.events() for link in event.links
    }
    left_out = Subset(exclude=("*.csv",))
    photo = dataver.open(lab.repository).version("cats").entry("train/a.jpg").size
    assert said["mlflow:a"] == said["mlflow:e"] == (left_out, 1, photo)
    assert said["mlflow:b"][0] == Subset(("**",), shard=(0, 2), exclude=("*.csv", "none"))
    assert said["mlflow:c"] == (Subset(exclude=("train",)), 1, len("a,b\n"))
    assert said["mlflow:d"] == (Subset(("*.jpg",), exclude=("labels.csv",)), 1, photo)
    done = lab.command("fetch", "--run", "mlflow:a", "--dest", str(lab.work / "again"))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (lab.work / "again").rglob("*") if path.is_file()] == ["a.jpg"]
