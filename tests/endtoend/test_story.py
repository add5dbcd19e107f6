"""The main job as one story, in a folder and on three real S3 servers, on two machines."""

import os
import random
import subprocess
import sys

import pytest

import dataver
from dataver.errors import AlreadyExists, Conflict

from .conftest import contents


@pytest.fixture
def photos(tmp_path):
    """A data set: large and small files, a link, an executable, an empty folder."""
    noise = random.Random(11)
    top = tmp_path / "photos"
    (top / "train").mkdir(parents=True)
    (top / "test").mkdir()
    for number in range(40):
        (top / "train" / f"{number:03d}.jpg").write_bytes(noise.randbytes(5000 + number))
    (top / "test" / "large.bin").write_bytes(noise.randbytes(3_000_000))
    (top / "labels.csv").write_text("".join(f"{number},cat\n" for number in range(20_000)))
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "newest").symlink_to("train/039.jpg")
    (top / "later").mkdir()
    return top


def test_the_story(place, photos, machines, tmp_path):
    """Init, two versions, diff, tag, fetch both ways and in part, a second machine, verify, cat."""
    first, second = machines
    first.sit_down()
    repo = dataver.init(place.url, storage_options=place.options)
    assert repo._core.config.create_if_absent is place.exclusive
    with pytest.raises(AlreadyExists):
        dataver.init(place.url, storage_options=place.options)

    draft = repo.create("vision/cats")
    added = draft.add(photos)
    assert added.problems == []
    draft.finalize("July")
    one = draft.upload().version
    assert one.ref == "vision/cats@1.0.0"
    before = contents(photos)

    (photos / "train" / "000.jpg").rename(photos / "train" / "renamed.jpg")
    (photos / "train" / "001.jpg").unlink()
    large = bytearray((photos / "test" / "large.bin").read_bytes())
    large[1_500_000:1_500_000] = b"a few bytes more"
    (photos / "test" / "large.bin").write_bytes(large)
    (photos / "train" / "new.jpg").write_bytes(os.urandom(2000))
    draft = repo.create("vision/cats", parents="vision/cats")
    report = draft.sync(photos)
    assert report.new_size < 250_000
    assert draft.status().summary()["renamed"] == 1
    draft.finalize("August")
    two = draft.upload().version
    assert two.ref == "vision/cats@1.0.1"
    assert [parent.record for parent in two.parents] == [one.record_id]

    changes = repo.diff("vision/cats@1.0.0", "vision/cats@1.0.1")
    assert [entry.path for entry in changes.added] == ["train/new.jpg"]
    assert [entry.path for entry in changes.removed] == ["train/001.jpg"]
    assert [change.path for change in changes.modified] == ["test/large.bin"]
    assert [(old.path, new.path) for old, new in changes.renamed] == [("train/000.jpg", "train/renamed.jpg")]
    repo.tag("vision/cats@1.0.0", "production")

    there = second.open(place)
    assert [summary.name for summary in there.datasets()] == ["vision/cats"]
    assert [version.label for version in there.versions("vision/cats")] == ["1.0.0", "1.0.1"]
    assert there.version("vision/cats@production") == one
    assert there.version(two.digest[:16]).message == "August"
    cached = there.fetch("vision/cats@production")
    assert contents(cached.path) == before
    assert os.readlink(cached.path / "newest") == "train/039.jpg"
    assert os.access(cached.path / "run.sh", os.X_OK) and (cached.path / "later").is_dir()
    assert there.fetch("vision/cats@production").transferred == 0
    newer = there.fetch("vision/cats@1.0.1")
    assert contents(newer.path) == contents(photos)
    assert newer.transferred < 600_000 < cached.transferred
    own = there.fetch("vision/cats", dest=tmp_path / "own")
    assert contents(own.path) == contents(photos) and own.transferred == 0
    (own.path / "labels.csv").write_text("mine")
    with pytest.raises(Conflict, match=r"labels\.csv"):
        there.fetch("vision/cats", dest=tmp_path / "own")
    part = first.open(place).fetch("vision/cats", dest=tmp_path / "part", include="train/01*")
    assert sorted(contents(part.path)) == [f"train/01{number}.jpg" for number in range(10)]
    assert part.transferred < 200_000

    for version in ("vision/cats@1.0.0", "vision/cats@1.0.1"):
        assert second.open(place).verify(version).ok
        assert repo.verify(version, quick=True).ok
    assert there.verify_folder("vision/cats", photos).ok
    assert there.verify_folder("vision/cats", own.path).findings == [
        ("labels.csv", "has 4 bytes, not " + str((photos / "labels.csv").stat().st_size))
    ]
    assert there.version("vision/cats").read("test/large.bin") == bytes(large)

    (photos / "more.txt").write_text("from the second machine")
    third = there.sync(photos, "vision/cats", message="September")
    assert third.version.ref == "vision/cats@1.0.2"
    assert third.upload.size < 100_000
    assert first.open(place).version("vision/cats").read("more.txt") == b"from the second machine"


UPLOADS = """
import os, sys, dataver
url, name, work = sys.argv[1:]
repo = dataver.open(url)
for number in range(2):
    path = os.path.join(work, f"{name}-{number}")
    os.makedirs(path)
    with open(os.path.join(path, "file"), "w") as file:
        file.write(f"{name} {number}")
    draft = repo.create("d", workspace=path)
    draft.add(os.path.join(path, "file"))
    draft.finalize()
    print("ready", flush=True)
    sys.stdin.readline()
    print(draft.upload().version.label, flush=True)
"""


@pytest.mark.servers
def test_two_processes_that_upload_at_once_get_labels_of_their_own(seaweedfs_server, machines, tmp_path):
    """Both are let go at the same moment, twice: four versions, no label twice, every content there."""
    url = seaweedfs_server.url(f"endtoend/{tmp_path.name}")
    machines[0].sit_down()
    repo = dataver.init(url, storage_options=seaweedfs_server.options)
    assert repo._core.config.create_if_absent
    running = [
        subprocess.Popen(
            [sys.executable, "-c", UPLOADS, url, name, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | seaweedfs_server.environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for name in ("ann", "ben")
    ]
    labels = []
    for _ in range(2):
        assert [process.stdout.readline() for process in running] == ["ready\n"] * 2
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        labels += [process.stdout.readline().strip() for process in running]
    for process in running:
        process.communicate()
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(labels) == ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]
    assert {repo.version(f"d@{label}").read("file") for label in labels} == {
        f"{name} {number}".encode() for name in ("ann", "ben") for number in range(2)
    }


@pytest.mark.servers
def test_a_store_that_ignores_conditions_is_noted_and_used_with_care(rclone_server, machines, tmp_path):
    """`init` writes down what it found; whoever opens the repository later knows; labels still count up."""
    url = rclone_server.url(f"endtoend/{tmp_path.name}")
    machines[0].sit_down()
    assert dataver.init(url, storage_options=rclone_server.options)._core.config.create_if_absent is False
    repo = dataver.open(url, storage_options=rclone_server.options)
    assert repo._core.config.create_if_absent is False
    assert repo._core.store.exclusive_create is False
    (tmp_path / "source").mkdir()
    for number in range(3):
        (tmp_path / "source" / "file").write_text(str(number))
        assert repo.sync(tmp_path / "source", "d").version.label == f"1.0.{number}"
    (tmp_path / "source" / "file").write_text("other")
    with pytest.raises(Conflict, match=r"d@1\.0\.0"):
        repo.sync(tmp_path / "source", "d", label="1.0.0")
    assert repo.version("d@1.0.0").read("file") == b"0"
