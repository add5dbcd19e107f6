"""Versions in the formats of other tools."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import Conflict, InvalidInput
from dataver.exporters import FORMATS, export_version
from dataver.exporters.contents import contents

FILES = {
    "train/1.jpg": b"one",
    "train/1.cls": b"1",
    "train/1-b.jpg": b"b",
    "train/2.seg.png": b"two" * 1000,
    "train/2.jpg": b"",
    "same.bin": b"one",
    "ünï cödé/日本.txt": b"text",
    "d" * 120 + "/" + "n" * 120 + ".bin": b"long name",
}


@pytest.fixture
def version(tmp_path: Path) -> dataver.Version:
    """A version with names of many kinds, an executable, a link and an empty folder."""
    source = tmp_path / "source"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    (source / "run.sh").write_bytes(b"#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("train/1.jpg")
    (source / "empty").mkdir()
    repo = dataver.init(tmp_path / "repo")
    repo.sync(source, "vision/cats", workspace=tmp_path)
    return repo.version("vision/cats")


def members(archive: tarfile.TarFile) -> dict[str, bytes]:
    """Return the files of an archive."""
    found = {}
    for info in archive:
        if info.isfile():
            opened = archive.extractfile(info)
            assert opened is not None
            found[info.name] = opened.read()
    return found


def test_a_folder_has_the_files_writable(version: dataver.Version, tmp_path: Path) -> None:
    """With links and empty folders, too."""
    report = export_version(version, tmp_path / "out")
    assert (report.files, report.problems, report.made) == (9, [], [])
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES
    assert (tmp_path / "out" / "link").readlink() == Path("train/1.jpg")
    (tmp_path / "out" / "train" / "1.jpg").write_bytes(b"other")


def test_a_tar_file_has_everything_and_always_the_same_bytes(
    version: dataver.Version, tmp_path: Path
) -> None:
    """Modes, links, empty folders, long names, and the time of the version."""
    path = tmp_path / "new" / "cats.tar"
    export_version(version, path, "tar")
    with tarfile.open(path) as archive:
        assert members(archive) == {**FILES, "run.sh": b"#!/bin/sh\n"}
        modes = {info.name: info.mode for info in archive if info.isfile()}
        assert {name for name, mode in modes.items() if mode == 0o755} == {"run.sh"}
        assert archive.getmember("link").linkname == "train/1.jpg"
        assert archive.getmember("empty").isdir()
        assert {info.mtime for info in archive} == {int(version.created.timestamp())}
    again = tmp_path / "again.tar"
    export_version(version, again, "tar")
    assert again.read_bytes() == path.read_bytes()
    assert sorted(each.name for each in path.parent.iterdir()) == ["cats.tar"]


def test_large_files_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files above the size of a group come in pieces, between others."""
    monkeypatch.setattr("dataver.exporters.contents._GROUP", 1000)
    monkeypatch.setattr("dataver.exporters.contents._PIECE", 300)
    files = {f"{at:02}.bin": os.urandom(at * 90) for at in range(30)}
    source = tmp_path / "source"
    source.mkdir()
    for name, data in files.items():
        (source / name).write_bytes(data)
    repo = dataver.init(tmp_path / "repo")
    repo.sync(source, "cats", workspace=tmp_path)
    export_version(repo.version("cats"), tmp_path / "cats.tar", "tar")
    with tarfile.open(tmp_path / "cats.tar") as archive:
        assert members(archive) == files


def test_shards_have_a_bounded_size_and_whole_samples(version: dataver.Version, tmp_path: Path) -> None:
    """Files with the same path up to the first dot are together; what is no file is reported."""
    report = export_version(version, tmp_path / "out", "webdataset", shard_size=12)
    assert [name for name, _ in report.problems] == ["empty", "link"]
    assert report.made == [
        str(tmp_path / "out" / f"vision-cats-{at:06}.tar") for at in range(len(report.made))
    ]
    found: dict[str, bytes] = {}
    shard_of: dict[str, set[int]] = {}
    for at, path in enumerate(report.made):
        with tarfile.open(path) as archive:
            content = members(archive)
        keys = {name.rpartition("/")[0] + name.rpartition("/")[2].partition(".")[0] for name in content}
        assert sum(map(len, content.values())) <= 12 or len(keys) == 1
        for key in keys:
            shard_of.setdefault(key, set()).add(at)
        found |= content
    assert found == {**FILES, "run.sh": b"#!/bin/sh\n"}
    assert all(len(each) == 1 for each in shard_of.values())


def test_a_remote_of_dvc_has_objects_by_md5(version: dataver.Version, tmp_path: Path) -> None:
    """Equal contents are one object; the list of files names all; a second version shares the folder."""
    report = export_version(version, tmp_path / "out", "dvc")
    [made] = report.made
    lines = Path(made).read_text().splitlines()
    assert made == str(tmp_path / "out" / "cats.dvc")
    assert lines[0] == "outs:"
    assert lines[2:] == [f"  size: {version.size}", "  nfiles: 9", "  hash: md5", '  path: "cats"']
    name = lines[1].removeprefix("- md5: ")
    objects = tmp_path / "out" / "files" / "md5"
    data = (objects / name[:2] / name[2:]).read_bytes()
    assert hashlib.md5(data).hexdigest() + ".dir" == name
    listed = json.loads(data)
    assert [each["relpath"] for each in listed] == sorted([*FILES, "run.sh"])
    for each in listed:
        content = (objects / each["md5"][:2] / each["md5"][2:]).read_bytes()
        assert hashlib.md5(content).hexdigest() == each["md5"]
        assert content == FILES.get(each["relpath"], b"#!/bin/sh\n")
    assert sum(path.is_file() for path in objects.rglob("*")) == len({*FILES.values()}) + 2
    export_version(version, tmp_path / "out", "dvc", overwrite=True)


def test_a_folder_for_the_hub_has_a_card(version: dataver.Version, tmp_path: Path) -> None:
    """The license and title of the description, and metadata that the Hub knows."""
    version.describe("Cats of the world.", license="CC-BY-4.0", set={"tags": ["cats"], "camera": "X"})
    export_version(version, tmp_path / "out", "hf")
    card = '---\nlicense: "cc-by-4.0"\npretty_name: "vision/cats"\ntags: ["cats"]\n---\n\n'
    assert (tmp_path / "out" / "README.md").read_text() == f"{card}# vision/cats\n\nCats of the world.\n"
    version.describe(license="MIT OR Apache-2.0", readme="# Mine\n")
    export_version(version, tmp_path / "out", "hf", overwrite=True)
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.startswith('---\nlicense: "other"\nlicense_name: "MIT OR Apache-2.0"\n')
    assert text.endswith("---\n\n# Mine\n")


@pytest.mark.parametrize("card", [b"---\r\nlicense: mit\r\n---\r\n\xff\r\n", b"---\nlicense: mit\n---\n"])
def test_a_card_of_the_version_keeps_its_bytes(tmp_path: Path, card: bytes) -> None:
    """Its line ends and encoding are the author's; a text without a card gets one before it."""
    repo = dataver.init(tmp_path / "repo")
    (tmp_path / "data").mkdir()
    for data in (card, card[5:]):
        (tmp_path / "data" / "README.md").write_bytes(data)
        repo.sync(tmp_path / "data", "cats", workspace=tmp_path)
        export_version(repo.version("cats"), tmp_path / "out", "hf", overwrite=True)
        written = (tmp_path / "out" / "README.md").read_bytes()
        assert written.endswith(data)
        assert (written == data) is (data == card)


def test_exports_at_once_share_a_remote_of_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object has the bytes of its name, also if two exports write into the folder at the same time."""
    repo = dataver.init(tmp_path / "repo")
    (tmp_path / "data").mkdir()
    for number in range(2):
        (tmp_path / "data" / "a").write_text(str(number))
        repo.sync(tmp_path / "data", "cats", workspace=tmp_path)
    one, two = (repo.version(f"cats@1.0.{number}") for number in range(2))
    inner = [two]

    def both(*arguments: Any) -> Iterator[Any]:
        for entry, pieces in contents(*arguments):

            def interrupted(pieces: Any = pieces) -> Iterator[bytes]:
                yield from pieces
                if inner:
                    export_version(inner.pop(), tmp_path / "out", "dvc", overwrite=True)

            yield entry, interrupted()

    monkeypatch.setattr("dataver.exporters.dvc.contents", both)
    export_version(one, tmp_path / "out", "dvc")
    found = [path for path in (tmp_path / "out" / "files" / "md5").rglob("*") if path.is_file()]
    assert len(found) == 4
    for path in found:
        name = path.parent.name + path.name
        assert hashlib.md5(path.read_bytes()).hexdigest() == name.removesuffix(".dir")


def test_shards_of_an_earlier_export_are_reported(tmp_path: Path) -> None:
    """A reader of all shards in the folder would mix two versions."""
    repo = dataver.init(tmp_path / "repo")
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / name).write_text(name)
    repo.sync(tmp_path / "data", "cats", workspace=tmp_path)
    export_version(repo.version("cats"), tmp_path / "out", "webdataset", shard_size=1)
    (tmp_path / "data" / "b").unlink()
    repo.sync(tmp_path / "data", "cats", workspace=tmp_path)
    report = export_version(
        repo.version("cats"), tmp_path / "out", "webdataset", shard_size=1, overwrite=True
    )
    assert report.problems == [
        (str(tmp_path / "out" / "cats-000001.tar"), "it is a shard of an earlier export; delete it")
    ]


@pytest.mark.parametrize("kind", [each for each in FORMATS if each != "tar"])
def test_only_a_tar_file_is_a_stream(version: dataver.Version, tmp_path: Path, kind: str) -> None:
    """A folder named "-" would be a surprise."""
    with pytest.raises(InvalidInput, match="standard output"):
        export_version(version, "-", kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_target_with_files_is_refused(version: dataver.Version, tmp_path: Path, kind: str) -> None:
    """Nothing is written without `overwrite`, and an unknown format is an error."""
    target = tmp_path / "there"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(Conflict, match="not empty") as caught:
        export_version(version, target, kind)
    assert "--overwrite" in str(caught.value.hint)
    assert [path.name for path in target.iterdir()] == ["mine"]
    with pytest.raises(InvalidInput, match="zip"):
        export_version(version, target, "zip")


def test_the_command_streams_a_tar_file(version: dataver.Version, tmp_path: Path) -> None:
    """To standard output, with the summary elsewhere; or it prints what it made as JSON."""
    run = [sys.executable, "-m", "dataver_cli", "export", version.ref]
    environment = {**os.environ, "DATAVER_REPO": str(tmp_path / "repo")}
    done = subprocess.run([*run, "-", "--format", "tar"], env=environment, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert members(archive) == {**FILES, "run.sh": b"#!/bin/sh\n"}
    assert b"Exported vision/cats@1.0.0 as tar: 9 files" in done.stderr
    out = str(tmp_path / "out")
    done = subprocess.run(
        [*run, out, "--format", "dvc", "--json"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 3  # a link and an empty folder
    values = json.loads(done.stdout)
    assert (values["path"], values["files"], len(values["problems"])) == (out, 9, 2)
    done = subprocess.run([*run, out, "--plan"], env=environment, capture_output=True, check=False)
    assert (done.returncode, b"not empty" in done.stderr) == (5, True)
