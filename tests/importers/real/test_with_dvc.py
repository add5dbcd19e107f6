"""Repositories written by DVC: every version comes over, byte for byte."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc_data.hashfile.hash import file_md5
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

import dataver
from dataver.formats.entry import Kind
from dataver.hashing.checksums import hasher
from dataver.importers import import_versions
from dataver.importers.dvc import DvcSource
from importers.real.dvc_repository import DvcRepository
from servers import Server

CONFIG = """
[core]
    remote = folder
['remote "folder"']
    url = {folder}
['remote "bucket"']
    url = {bucket}
    endpointurl = {endpoint}
    region = us-east-1
"""
KEYS = """
['remote "bucket"']
    access_key_id = {key}
    secret_access_key = {secret}
"""

TEXTS = {
    "unix": b"a\nb\n" * 300_000,
    "dos": b"a,b\r\n" * 300_001,
    "empty": b"",
    "only line ends": b"\r\n" * 200,
    "lone returns": b"\r" * 513,
    "binary": b"\0\r\n" * 400,
    "others": bytes(range(128, 256)) * 2 + b"\r\n" * 400,
    "late zero": b"text\r\n" * 200 + b"\0",
}


@pytest.mark.parametrize("algorithm", ["md5", "md5-dos2unix"])
def test_checksums_are_those_of_dvc(tmp_path: Path, algorithm: str) -> None:
    """Of texts and of other files, whatever the blocks."""
    path = tmp_path / "file"
    for name, data in TEXTS.items():
        path.write_bytes(data)
        for block in (len(data) or 1, 7777):
            ours = hasher(algorithm, len(data))
            for at in range(0, len(data), block):
                ours.update(data[at : at + block])
            assert ours.hexdigest() == file_md5(str(path), LocalFileSystem(), name=algorithm), name


@pytest.fixture(scope="module", autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """DVC keeps nothing outside of the tests, and sends nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path_factory.mktemp("global")))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_TEST", "1")
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, seaweedfs_server: Server) -> DvcRepository:
    """Twelve commits, pushed to a folder and a bucket; tests change copies."""
    root = tmp_path_factory.mktemp("dvc")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        bucket = seaweedfs_server.url(f"dvc/{secrets.token_hex(4)}")
        text = CONFIG.format(folder=root / "store", bucket=bucket, endpoint=seaweedfs_server.endpoint)
        made = DvcRepository(root / "cats", text)
        made.make()
        keys = KEYS.format(key=seaweedfs_server.options["key"], secret=seaweedfs_server.options["secret"])
        made.write({".dvc/config.local": keys.encode()})
        with made.dvc as dvc:
            dvc.push(all_commits=True)
            dvc.push(all_commits=True, remote="bucket")
    return made


@pytest.fixture
def reachable(seaweedfs_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, with its address and keys in the environment."""
    for name, value in seaweedfs_server.environment.items():
        monkeypatch.setenv(name, value)
    return seaweedfs_server


@pytest.fixture
def made(written: DvcRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DvcRepository:
    """A copy with its own cache."""
    shutil.copytree(written.folder, tmp_path / "cats", symlinks=True)
    copy = DvcRepository.__new__(DvcRepository)
    copy.folder, copy.commits = tmp_path / "cats", written.commits
    monkeypatch.chdir(copy.folder)
    return copy


Checkout = dict[str, tuple[bytes, bool]]


@pytest.fixture(scope="module")
def checkouts(written: DvcRepository, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkout]:
    """What DVC's own checkout of each commit writes: bytes, and whether they are executable."""
    root = tmp_path_factory.mktemp("checkouts")
    return {sha: checked_out(written, root / sha, sha) for sha in written.run("rev-list", "--all").split()}


def checked_out(written: DvcRepository, folder: Path, sha: str) -> Checkout:
    """Check out a commit with DVC."""
    written.run("clone", "-q", "--no-checkout", str(written.folder), str(folder))
    written.run("-C", str(folder), "checkout", "-q", sha)
    cache = f"[cache]\n    dir = {written.folder}/.dvc/cache\n    type = copy\n"
    (folder / ".dvc" / "config.local").write_text(cache, "utf-8")
    with Repo(str(folder)) as dvc:
        dvc.checkout(force=True)
    of_git = set(written.run("-C", str(folder), "ls-files").splitlines())
    return {
        name: (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in folder.rglob("*")
        if path.is_file() and (name := str(path.relative_to(folder))) not in of_git
        if not name.startswith((".git/", ".dvc/"))
    }


def without_cache(written: DvcRepository, folder: Path, remote: str) -> str:
    """Return a clone whose default remote is this one."""
    written.run("clone", "-q", str(written.folder), str(folder))
    local = (written.folder / ".dvc" / "config.local").read_text("utf-8")
    (folder / ".dvc" / "config.local").write_text(f"[core]\n    remote = {remote}\n{local}", "utf-8")
    return str(folder)


MAIN = ["first", "change", "rename", "stage", "more", "yet more", "merge"]
MAIN += ["of DVC 2", "of DVC 3", "executable"]


@pytest.mark.parametrize("place", ["cache", "url", "folder", "bucket"])
@pytest.mark.parametrize("in_place", [False, True])
def test_every_version_has_the_bytes_of_dvc(
    written: DvcRepository,
    checkouts: dict[str, Checkout],
    repo: dataver.Repository,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    place: str,
    in_place: bool,
) -> None:
    """From the cache or a remote, stored or left in place, in all twelve commits."""
    where = str(written.folder)
    if place == "url":
        where = f"file://{where}"
    elif place != "cache":
        where = without_cache(written, tmp_path / "clone" / "cats", place)
    report = import_versions(repo, DvcSource(where), in_place=in_place)
    assert report.problems == []
    assert [version.message for version in report.versions] == MAIN
    assert report.stored == 0 if in_place else report.stored > 0
    if in_place:
        request.getfixturevalue("reachable")
    for version in repo.versions("cats"):
        kinds = {entry.path: entry.kind == Kind.EXECUTABLE for entry in version.entries()}
        ours = {path: (version.read(path), executable) for path, executable in kinds.items()}
        assert ours == checkouts[version.metadata["git_commit"]], version.message
    assert repo.verify("cats").ok


def test_the_history_is_that_of_git(written: DvcRepository, repo: dataver.Repository) -> None:
    """Parents, authors, times and tags."""
    import_versions(repo, DvcSource(str(written.folder)))
    found = {version.message: version for version in repo.versions("cats")}
    messages = {version.label: version.message for version in found.values()}
    merged = found["merge"]
    assert sorted(messages[parent.label] for parent in merged.parents) == ["stage", "yet more"]
    assert [messages[parent.label] for parent in found["more"].parents] == ["rename"]
    assert repo.version("cats").message == "executable"
    assert repo.tagged("cats") == {
        "v1": found["change"].label,
        "images-v1.0.0": found["of DVC 2"].label,
        "images-prod": found["executable"].label,
    }
    assert merged.author == "Ana <ana@example.org>"
    sha = merged.metadata["git_commit"]
    assert written.run("show", "-s", "--format=%at", sha) == str(int(merged.created.timestamp()))


def test_a_repeated_import_brings_only_what_is_new(made: DvcRepository, repo: dataver.Repository) -> None:
    """Nothing the second time; after a commit, its file."""
    import_versions(repo, DvcSource(str(made.folder)))
    again = import_versions(repo, DvcSource(str(made.folder)))
    assert (again.versions, again.known, again.files, again.tags) == ([], 10, 0, [])
    made.change("new", {"images/new.bin": b"new"}, "images")
    made.run("tag", "-f", "v1")
    third = import_versions(repo, DvcSource(str(made.folder)))
    assert ([each.message for each in third.versions], third.known, third.files) == (["new"], 10, 1)
    assert third.tags == [("v1", third.versions[0].ref)]
    assert repo.version("cats@latest").read("images/new.bin") == b"new"


def objects(made: DvcRepository) -> dict[bytes, Path]:
    """Return the objects of the cache by their bytes."""
    return {path.read_bytes(): path for path in (made.folder / ".dvc" / "cache").rglob("*") if path.is_file()}


def names_after(made: DvcRepository, damage: Callable[[Path], object], data: bytes) -> set[str]:
    """Damage an object; return the paths that an import then names."""
    path = objects(made)[data]
    path.chmod(0o644)
    damage(path)
    folder = made.folder.parent / secrets.token_hex(4)
    report = import_versions(dataver.init(folder), DvcSource(str(made.folder)))
    assert len(report.versions) == 10
    return {name.split(" in ")[0] for name, _ in report.problems}


def test_damage_is_named_and_loses_nothing_else(made: DvcRepository) -> None:
    """A missing object, other bytes, a cut listing; in the versions that have them."""
    made.write({".dvc/config": b""})
    gone = {"data/c/d/e", "images/c/d/e"}
    assert names_after(made, Path.unlink, b"e") == gone
    gone |= {"more/z"}
    assert names_after(made, lambda path: path.write_bytes(b"Z" * 9), b"z" * 9) == gone
    listing = next(data for data in objects(made) if b'"relpath": "z"' in data)
    gone = gone - {"more/z"} | {"more"}
    assert names_after(made, lambda path: path.write_bytes(listing[:-30]), listing) == gone


def test_versions_of_objects_in_a_bucket_are_read(
    repo: dataver.Repository, tmp_path: Path, reachable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remote with `version_aware` keeps files under their own names."""
    bucket = f"versioned-{secrets.token_hex(4)}"
    files = S3FileSystem(endpoint_url=reachable.endpoint)
    files.mkdir(bucket)
    files.call_s3("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    monkeypatch.chdir(tmp_path)
    text = CONFIG.format(folder=tmp_path, bucket=f"s3://{bucket}/x", endpoint=reachable.endpoint)
    made = DvcRepository(tmp_path / "cats", text.replace("remote = folder", "remote = bucket"))
    with made.dvc as dvc, dvc.config.edit() as settings:
        settings["remote"]["bucket"]["version_aware"] = True
    for number in (b"1", b"2"):
        made.write({"data/a": number, "data/sub/b": b"same", "one": number * 2})
        with made.dvc as dvc:
            dvc.add(["data", "one"])
            dvc.push()
        made.commit(number.decode())
    shutil.rmtree(made.folder / ".dvc" / "cache")
    report = import_versions(repo, DvcSource(str(made.folder)))
    assert report.problems == []
    found = [(version, [each.path for each in version.entries()]) for version in report.versions]
    assert [{path: version.read(path) for path in paths} for version, paths in found] == [
        {"data/a": b"1", "data/sub/b": b"same", "one": b"11"},
        {"data/a": b"2", "data/sub/b": b"same", "one": b"22"},
    ]
