"""Manifests of Weights & Biases, with files in a cache laid out by hand."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import xxhash

from dataver.errors import InvalidInput, StoreError
from dataver.importers.source import SourceFile, SourceVersion
from dataver.importers.wandb import WandbOffline, wandb_source


def md5(data: bytes) -> str:
    """Return the digest of a file as W&B writes it."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


class Machine:
    """A folder with manifests, and W&B's cache."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache = root, root / "cache"

    def manifest(self, name: str, contents: Any) -> Path:
        """Write a manifest."""
        values = {"version": 1, "storagePolicy": "wandb-storage-policy-v1", "contents": contents}
        path = self.root / name
        path.write_text(json.dumps(values))
        return path

    def keep(self, data: bytes, algorithm: str = "md5") -> Path:
        """Put a file into the cache."""
        value = (hashlib.md5(data) if algorithm == "md5" else xxhash.xxh3_128(data)).hexdigest()
        path = self.cache / "artifacts" / "obj" / algorithm / value[:2] / value[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def versions(self, *paths: Path) -> list[SourceVersion]:
        """Return the versions of manifests; there are no problems."""
        source = WandbOffline(paths, cache=self.cache)
        found = list(source.versions())
        assert source.problems == []
        return found

    def file(self, entry: dict[str, Any]) -> SourceFile:
        """Return the file of a manifest with one entry."""
        [version] = self.versions(self.manifest("cats.json", {"a/b": entry}))
        [file] = version.files()
        assert file.path == "a/b"
        return file


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """An empty machine."""
    return Machine(tmp_path)


def test_a_file_is_taken_from_the_cache_by_its_checksum(machine: Machine) -> None:
    """It is the MD5 in Base64, unless the entry names another algorithm."""
    kept = machine.keep(b"one")
    file = machine.file({"digest": md5(b"one"), "size": 3, "birthArtifactID": "QQ=="})
    assert (file.url, file.size) == (str(kept), 3)
    assert file.check == ("md5", hashlib.md5(b"one").hexdigest())
    kept = machine.keep(b"two", "xxh128")
    digest = base64.b64encode(xxhash.xxh3_128(b"two").digest()).decode()
    file = machine.file({"digest": digest, "size": 3, "extra": {"alg": "XXH128"}})
    assert (file.url, file.check) == (str(kept), ("xxh128", xxhash.xxh3_128(b"two").hexdigest()))
    file = machine.file({"digest": digest, "size": 3, "extra": {"alg": "NEW"}})
    assert (file.url, file.check) == (None, None)
    assert file.missing is not None


def test_a_size_may_be_unknown(machine: Machine) -> None:
    """As in manifests of old clients; the checksum is there."""
    machine.keep(b"one")
    assert machine.file({"digest": md5(b"one")}).size is None


def test_a_file_that_is_not_in_the_cache_is_missing(machine: Machine) -> None:
    """The reason names where it would be; its checksum is known."""
    file = machine.file({"digest": md5(b"gone"), "size": 4})
    assert "no copy of it on this machine" in str(file.missing)
    assert file.check == ("md5", hashlib.md5(b"gone").hexdigest())


def test_a_reference_stays_where_it_is(machine: Machine) -> None:
    """With the version of the object; an ETag is no checksum, and one of a local file is."""
    etag = hashlib.md5(b"other").hexdigest()
    extra = {"etag": etag, "versionID": "V1"}
    file = machine.file({"digest": etag, "ref": "s3://bucket/key", "size": 5, "extra": extra})
    assert (file.url, file.object_version, file.external) == ("s3://bucket/key", "V1", True)
    assert (file.check, file.size, file.content) == (None, 5, "s3://bucket/key V1")
    file = machine.file({"digest": "s3://bucket/key", "ref": "s3://bucket/key"})
    assert (file.size, file.object_version, file.check) == (None, None, None)
    local = machine.root / "a b.bin"
    local.write_bytes(b"local")
    file = machine.file({"digest": md5(b"local"), "ref": f"file://{machine.root}/a%20b.bin", "size": 5})
    assert (file.url, file.external) == (str(local), True)
    assert file.check == ("md5", hashlib.md5(b"local").hexdigest())


def test_a_manifest_names_no_local_files(machine: Machine) -> None:
    """It may be that of someone else."""
    (machine.root / "secret").write_text("secret")
    path = machine.manifest("cats.json", {"a": {"digest": "x", "local_path": str(machine.root / "secret")}})
    [version] = machine.versions(path)
    [file] = version.files()
    assert (file.url, file.missing is None) == (None, False)


def test_manifests_in_a_row_are_the_history_of_a_dataset(machine: Machine) -> None:
    """A dataset has the name of the manifest's file, without a version; equal files make one version."""
    one, two = ({"a": {"digest": md5(each), "size": 1}} for each in (b"1", b"2"))
    paths = [machine.manifest(f"cats-v{at}.json", each) for at, each in enumerate((one, one, two))]
    first, second = machine.versions(*paths)
    assert (first.dataset, second.dataset, second.parents) == ("cats", "cats", (first.key,))
    assert (first.label, second.label) == ("0.0.0", "2.0.0")
    assert [each.key for each in machine.versions(*paths)] == [first.key, second.key]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"contents": []}', '{"contents": {"a": 1}}', '{"contents": {"a": {}}}', "[" * 99_999],
)
def test_a_damaged_manifest_is_a_problem(machine: Machine, text: str) -> None:
    """The others are read."""
    (machine.root / "bad.json").write_text(text)
    good = machine.manifest("good.json", {"a": {"digest": md5(b"1"), "size": 1}})
    source = WandbOffline([machine.root / "bad.json", good], cache=machine.cache)
    assert [each.dataset for each in source.versions()] == ["good"]
    [(name, reason)] = source.problems
    assert name.endswith("bad.json")
    assert reason.startswith("it is damaged")


def test_a_manifest_that_is_damaged_later_is_a_clear_error(machine: Machine) -> None:
    """Its files are listed again when they are needed."""
    path = machine.manifest("cats.json", {"a": {"digest": md5(b"1"), "size": 1}})
    [version] = machine.versions(path)
    path.write_text("{")
    with pytest.raises(StoreError, match=r"cats\.json is damaged"):
        version.files()


def test_another_place_is_refused(machine: Machine) -> None:
    """The hint tells what to give."""
    for places in ([str(machine.root / "none")], ["cats"], ["team/proj", "team/other"]):
        with pytest.raises(InvalidInput, match="no project of Weights & Biases") as caught:
            wandb_source(places)
        assert "entity/project" in str(caught.value.hint)


def test_the_server_and_logs_need_the_package(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint tells how to install it."""
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    log = machine.root / "run-1.wandb"
    log.write_bytes(b"")
    for read in (lambda: wandb_source(["team/proj"]), lambda: list(wandb_source([str(log)]).versions())):
        with pytest.raises(InvalidInput, match="wandb") as caught:
            read()
        assert caught.value.hint == "pip install 'dataver[wandb]'"
