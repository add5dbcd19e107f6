"""Datasets in a cache of the Hugging Face Hub's client, laid out by hand."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dataver
from dataver.errors import InvalidInput
from dataver.importers.hf import HubCache, front_matter, hub_source
from dataver.importers.source import SourceVersion

CARD = b"---\nlicense: mit\ntags:\n- cats\nother: 1\n---\n# Cats\n"
FIRST, SECOND, THIRD = "1" * 40, "2" * 40, "3" * 40


class Cache:
    """A cache of one dataset."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "datasets--team--cats"
        (self.folder / "snapshots").mkdir(parents=True)
        (self.folder / "blobs").mkdir()

    def snapshot(self, commit: str, files: dict[str, bytes], *refs: str) -> None:
        """Add a snapshot, later than those before."""
        for path, data in files.items():
            large = len(data) >= 64
            name = (
                hashlib.sha256(data) if large else hashlib.sha1(b"blob %d\0" % len(data) + data)
            ).hexdigest()
            (self.folder / "blobs" / name).write_bytes(data)
            link = self.folder / "snapshots" / commit / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(self.folder / "blobs" / name, link.parent))
        number = len(list((self.folder / "snapshots").iterdir()))
        os.utime(self.folder / "snapshots" / commit, (number, number))
        for ref in refs:
            path = self.folder / "refs" / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(commit)

    def versions(self) -> list[SourceVersion]:
        """Return its versions; there are no problems."""
        source = HubCache(str(self.folder), "yaml")
        found = list(source.versions())
        assert source.problems == []
        return found


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "hub")


def test_snapshots_are_versions_with_the_checksums_of_their_blobs(cache: Cache) -> None:
    """The commit of `main` is the last, whenever it was downloaded; refs are tags, some labels."""
    cache.snapshot(SECOND, {"a/b.csv": b"2", "big": b"x" * 99}, "main")
    cache.snapshot(FIRST, {"a/b.csv": b"1", "README.md": CARD}, "v1.0.0", "old")
    first, second = cache.versions()
    assert (first.key, second.key, second.parents) == (FIRST, SECOND, (FIRST,))
    assert (first.dataset, first.label, first.tags) == ("team/cats", "1.0.0", ("old", "v1.0.0"))
    assert first.metadata == {"license": "mit", "tags": ["cats"]}
    assert second.tags == second.parents[1:] == ()
    small, big = sorted(second.files())
    assert (small.path, small.size, small.check and small.check.algorithm) == ("a/b.csv", 1, "git-sha1")
    assert big.check == ("sha256", hashlib.sha256(b"x" * 99).hexdigest())
    assert Path(str(big.url)).read_bytes() == b"x" * 99


def test_a_commit_with_the_data_of_its_parent_is_no_version(cache: Cache) -> None:
    """Its tags and its children belong to the parent; `.gitattributes` is no data."""
    cache.snapshot(FIRST, {"a": b"1", ".gitattributes": b"1"})
    cache.snapshot(SECOND, {"a": b"1", ".gitattributes": b"2"}, "same")
    cache.snapshot(THIRD, {"a": b"3"}, "main")
    first, third = cache.versions()
    assert (first.key, first.tags, third.parents) == (FIRST, ("same",), (FIRST,))


def test_pull_requests_and_conversions_are_left_out(cache: Cache) -> None:
    """Snapshots that only such a ref names are not a part of the history."""
    cache.snapshot(FIRST, {"a": b"1"}, "main", "refs/pr/1")
    cache.snapshot(SECOND, {"a": b"2"}, "refs/convert/parquet")
    assert [each.key for each in cache.versions()] == [FIRST]


def test_what_was_not_downloaded_is_reported_as_missing(cache: Cache) -> None:
    """The tree of a commit has its checksum; a lost blob is another reason; a damaged tree is ignored."""
    cache.snapshot(FIRST, {"a": b"1", "lost": b"2"}, "main")
    trees = cache.folder / "trees"
    trees.mkdir()
    files = {"a": {"size": 1, "blob_id": "a" * 40}, "b": {"size": 99, "blob_id": "", "lfs_sha256": "b" * 64}}
    (trees / f"{FIRST}.json").write_text(json.dumps({"format_version": 1, "files": files}))
    (cache.folder / "snapshots" / FIRST / "lost").resolve().unlink()
    [version] = cache.versions()
    a, b, lost = sorted(version.files())
    assert a.check == ("git-sha1", "a" * 40)
    assert (b.check, b.size, b.url, b.missing) == (("sha256", "b" * 64), 99, None, "it was not downloaded")
    assert lost.missing is not None
    assert "not in the cache" in lost.missing
    for text in ("{", "[]", '{"files": {"c": 1}}', '{"files": {"c": {"size": 1, "blob_id": 7}}}', "[" * 9999):
        (trees / f"{FIRST}.json").write_text(text)
        [version] = cache.versions()
        assert {each.path for each in version.files()} == {"a", "lost"}


def test_a_cache_without_links_is_read(cache: Cache) -> None:
    """Where links are not possible the client puts the files into the snapshots."""
    (cache.folder / "snapshots" / FIRST).mkdir()
    (cache.folder / "snapshots" / FIRST / "a").write_bytes(b"1")
    [version] = cache.versions()
    [file] = version.files()
    assert (file.path, file.size, file.check, Path(str(file.url)).read_bytes()) == ("a", 1, None, b"1")


def test_a_link_leads_to_a_blob_of_the_dataset_only(cache: Cache, tmp_path: Path) -> None:
    """A link to a file elsewhere is missing."""
    (tmp_path / "secret").write_text("secret")
    cache.snapshot(FIRST, {"a": b"1"}, "main")
    (cache.folder / "snapshots" / FIRST / "b").symlink_to(tmp_path / "secret")
    (cache.folder / "snapshots" / FIRST / "c").symlink_to(tmp_path)
    (cache.folder / "snapshots" / FIRST / "d").symlink_to("../../blobs/d")
    (cache.folder / "blobs" / "d").symlink_to(tmp_path / "secret")
    [version] = cache.versions()
    assert [(each.path, each.missing is None) for each in sorted(version.files())] == [
        ("a", True), ("b", False), ("c", False), ("d", False)
    ]  # fmt: skip


def test_the_folder_of_all_datasets_is_a_source(cache: Cache) -> None:
    """Each of them is a dataset."""
    cache.snapshot(FIRST, {"a": b"1"}, "main")
    shutil.copytree(cache.folder, cache.root / "datasets--team--dogs", symlinks=True)
    names = [each.dataset for each in hub_source(str(cache.root)).versions()]
    assert names == ["team/cats", "team/dogs"]


def test_the_hub_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint tells how to install it."""
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="huggingface_hub") as caught:
        hub_source("https://huggingface.co/datasets/team/cats")
    assert caught.value.hint == "pip install 'dataver[import-hf]'"


@pytest.mark.parametrize("place", ["", "cats", "a/b/c", ".", "s3://bucket/x"])
def test_another_place_is_refused(place: str) -> None:
    """The hint tells what to give."""
    with pytest.raises(InvalidInput, match="neither a folder of a Hugging Face cache") as caught:
        hub_source(place)
    assert "org/name" in str(caught.value.hint)


def test_the_start_of_a_readme_is_metadata(cache: Cache) -> None:
    """Only values that are known, as JSON; damage is reported and hides nothing else."""
    dated = "---\nlicense: other\ndataset_info:\n  made: 2026-01-02\n---\n"
    assert front_matter(dated) == {"license": "other", "dataset_info": {"made": "2026-01-02"}}
    assert (
        front_matter("# no front")
        == front_matter("---\n- a\n---\n")
        == front_matter("---\nlicense: mit")
        == {}
    )
    for bad in ("a: [", "a: &x 1\nb: *x", "[" * 9999, "a: !!python/object:os.system {}"):
        with pytest.raises(ValueError, match="its YAML"):
            front_matter(f"---\n{bad}\n---\n")
    cache.snapshot(FIRST, {"README.md": b"---\na: [\n---\n"}, "main")
    source = HubCache(str(cache.folder), "yaml")
    [version] = source.versions()
    assert version.metadata == {}
    [(name, reason)] = source.problems
    assert name == "team/cats, README.md of 111111111111"
    assert "not valid" in reason


def test_the_command_imports_a_cache(cache: Cache, tmp_path: Path) -> None:
    """With the name that was asked for; a file that is missing makes the exit code 3."""
    cache.snapshot(FIRST, {"a": b"1", "README.md": CARD}, "v1.0.0")
    cache.snapshot(SECOND, {"a": b"1", "b": b"2"}, "main")
    (cache.folder / "snapshots" / SECOND / "b").resolve().unlink()
    dataver.init(tmp_path / "repo")
    run = [sys.executable, "-m", "dataver_cli", "import", "hf", str(cache.folder), "--name", "cats", "--json"]
    environment = {**os.environ, "DATAVER_REPO": str(tmp_path / "repo")}
    done = subprocess.run(run, env=environment, capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 3
    values = json.loads(done.stdout)
    assert [each["ref"] for each in values["versions"]] == ["cats@1.0.0", "cats@1.0.1"]
    assert values["tags"] == [{"tag": "v1.0.0", "ref": "cats@1.0.0"}]
    [problem] = values["problems"]
    assert problem["name"] == "b in cats@1.0.1"
    assert "not in the cache" in problem["reason"]
    repo = dataver.open(tmp_path / "repo")
    assert repo.version("cats@1.0.0").metadata["license"] == "mit"
    assert repo.version("cats").read("a") == b"1"
