"""Files of git-lfs, with pointers written by hand: found in the history, read from a folder or a server."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataver
from dataver.errors import DataverError, InvalidInput, NotFound, StoreError
from dataver.formats.entry import Kind
from dataver.importers import import_versions
from dataver.importers.git_lfs import GitLfsSource
from dataver.importers.source import SourceFile, SourceVersion
from importers.git_repository import GitRepository
from importers.lfs_server import LfsServer, lfs_server, pointer


@pytest.fixture
def made(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "cats")


@pytest.fixture
def server() -> Iterator[LfsServer]:
    with lfs_server() as server:
        yield server


def kept(folder: Path, data: bytes) -> bytes:
    """Put an object below a folder; return its pointer."""
    oid = hashlib.sha256(data).hexdigest()
    path = folder / "lfs/objects" / oid[:2] / oid[2:4] / oid
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return pointer(data)


def versions(made: GitRepository, where: str = "", **options: str) -> list[SourceVersion]:
    source = GitLfsSource(where or str(made.folder), **options)
    found = list(source.versions())
    assert source.problems == []
    return found


def content(file: SourceFile) -> bytes | str | None:
    if file.read is None:
        return Path(file.url).read_bytes() if file.url else file.missing
    with file.read() as opened:
        return opened.read()


def contents(version: SourceVersion) -> dict[str, bytes | str | None]:
    return {file.path: content(file) for file in version.files()}


def test_pointers_of_each_commit_are_files(made: GitRepository) -> None:
    """Other files are not; a file that leaves git-lfs leaves the data."""
    git = made.folder / ".git"
    made.write({"a.bin": kept(git, b"1"), "code.py": b"1", "near.bin": kept(git, b"1") + b"more\n"})
    (made.folder / "a.bin").chmod(0o755)
    first = made.commit("one")
    made.commit("code", {"code.py": b"2"})
    made.run("tag", "v1")
    made.commit("two", {"sub/b.bin": kept(git, b"22"), "a.bin": b"no pointer"})
    one, two = versions(made)
    assert (contents(one), contents(two)) == ({"a.bin": b"1"}, {"sub/b.bin": b"22"})
    assert (one.key, one.dataset, one.tags, two.parents) == (first, "cats", ("v1",), (first,))
    (file,) = one.files()
    oid = hashlib.sha256(b"1").hexdigest()
    assert (file.kind, file.size, file.content, file.check) == (Kind.EXECUTABLE, 1, oid, ("sha256", oid))
    (only,) = versions(made, path="sub", name="x")
    assert (contents(only), only.dataset, only.parents) == ({"sub/b.bin": b"22"}, "x", ())


def test_pointers_are_recognised_as_git_lfs_does(made: GitRepository) -> None:
    """With line ends of Windows, blank lines, and the name of an early version."""
    text = kept(made.folder / ".git", b"1")
    early = text.replace(b"https://git-lfs.github.com/spec/v1", b"http://git-media.io/v/2")
    made.commit("one", {"crlf": text.replace(b"\n", b"\r\n"), "blank": b"\n" + text + b"\n", "early": early})
    (one,) = versions(made)
    assert contents(one) == dict.fromkeys(("crlf", "blank", "early"), b"1")


def test_names_that_are_not_unicode_stay_two(made: GitRepository) -> None:
    """Neither takes the place of the other; an import reports them."""
    for name, data in ((b"a\xfe", b"1"), (b"a\xff", b"2")):
        (made.folder / os.fsdecode(name)).write_bytes(kept(made.folder / ".git", data))
    made.commit("one")
    (one,) = versions(made)
    assert sorted(contents(one).values()) == [b"1", b"2"]


def test_objects_of_a_clone_are_where_it_came_from(made: GitRepository, tmp_path: Path) -> None:
    """In a folder on this machine, and in the folder that git-lfs is told to use."""
    made.commit("one", {"a.bin": kept(made.folder / ".git", b"1")})
    (one,) = versions(made, f"file://{made.folder}")
    assert contents(one) == {"a.bin": b"1"}
    made.run("clone", "-q", str(made.folder), str(tmp_path / "clone"))
    (one,) = versions(made, str(tmp_path / "clone"))
    assert contents(one) == {"a.bin": b"1"}
    made.run("clone", "-q", "--shared", str(made.folder), str(tmp_path / "shared"))
    made.run("-C", str(tmp_path / "shared"), "remote", "remove", "origin")
    (one,) = versions(made, str(tmp_path / "shared"))
    assert contents(one) == {"a.bin": b"1"}
    (made.folder / ".git" / "lfs").rename(tmp_path / "lfs")
    made.run("config", "lfs.storage", str(tmp_path / "lfs"))
    (one,) = versions(made)
    assert contents(one) == {"a.bin": b"1"}
    made.run("config", "--unset", "lfs.storage")
    (one,) = versions(made)
    assert contents(one) == {"a.bin": "it is not in the repository; `git lfs fetch --all` gets it"}


@pytest.mark.parametrize("key", ["remote.origin.url", "lfs.url", "lfsconfig"])
def test_objects_are_fetched_from_the_server(made: GitRepository, server: LfsServer, key: str) -> None:
    """A hundred addresses a request, again if they have expired."""
    files: dict[str, bytes | None] = {f"{at}.bin": server.keep(b"%d" % at) for at in range(150)}
    if key == "lfsconfig":
        files[".lfsconfig"] = f"[lfs]\n\turl = {server.url}/cats.git/info/lfs\n".encode()
    else:
        made.run("config", key, server.url + ("/cats" if key.endswith("n.url") else "/cats.git/info/lfs"))
    made.commit("one", files)
    (one,) = versions(made)
    some = list(one.files())
    for file in some[:120]:
        assert content(file) == file.path.removesuffix(".bin").encode()
    server.key = "2"
    assert content(some[0]) == b"0"
    assert server.batches == [100, 50, 100]


def test_the_login_is_that_of_git(
    made: GitRepository, server: LfsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the URL, or of a helper that the user has configured; a helper of the repository is not asked."""
    server.login = "ana:s3cret"
    made.commit("one", {"a.bin": server.keep(b"1")})
    ran = tmp_path / "ran"
    made.run("config", "credential.helper", f"!touch {ran}; false")
    made.run("config", "remote.origin.url", f"{server.url}/cats.git")
    (one,) = versions(made)
    with pytest.raises(StoreError, match="answers 401") as error:
        contents(one)
    assert not error.value.transient
    assert not ran.exists()
    (Path.home() / ".git-credentials").write_text(server.url.replace("//", "//ana:s3cret@") + "\n", "utf-8")
    (Path.home() / ".gitconfig").write_text("[credential]\n\thelper = store\n", "utf-8")
    (one,) = versions(made)
    assert contents(one) == {"a.bin": b"1"}
    (Path.home() / ".git-credentials").unlink()
    made.run("config", "remote.origin.url", server.url.replace("//", "//ana:s3cret@") + "/cats.git")
    (one,) = versions(made)
    assert contents(one) == {"a.bin": b"1"}


def test_what_a_server_lacks_is_named(made: GitRepository, server: LfsServer) -> None:
    """One object, the server, or sense in its answers."""
    made.run("config", "remote.origin.url", f"{server.url}/cats.git")
    made.commit("one", {"a.bin": server.keep(b"1"), "b.bin": pointer(b"2")})
    (one,) = versions(made)
    a, b = one.files()
    assert content(a) == b"1"
    with pytest.raises(NotFound, match="Object does not exist"):
        content(b)
    for answer in (b"<html>", b"[]", b'{"objects": 1}', b'{"objects": [1]}', b'{"objects": [{"oid": []}]}'):
        server.answer = answer
        with pytest.raises(StoreError, match="does not answer as a server of git-lfs"):
            content(next(iter(versions(made)[0].files())))
    oid = hashlib.sha256(b"1").hexdigest()
    for action in (
        "{}",
        '{"download": 1}',
        '{"download": {"href": "file:///etc/passwd"}}',
        '{"download": {"href": 1}}',
    ):
        server.answer = f'{{"objects": [{{"oid": "{oid}", "actions": {action}}}]}}'.encode()
        with pytest.raises(DataverError):
            content(next(iter(versions(made)[0].files())))
    made.run("config", "remote.origin.url", "http://127.0.0.1:1/cats")
    with pytest.raises(StoreError, match="cannot be reached") as error:
        content(next(iter(versions(made)[0].files())))
    assert error.value.transient


def test_a_pointer_with_extensions_is_left_out(made: GitRepository) -> None:
    """The object has other bytes than the file."""
    lines = kept(made.folder / ".git", b"1").split(b"\n")
    lines.insert(1, b"ext-0-crypt sha256:" + b"1" * 64)
    made.commit("one", {"a.bin": b"\n".join(lines)})
    (one,) = versions(made)
    assert contents(one) == {"a.bin": "an extension of git-lfs changed its bytes"}


def test_a_repository_without_git_lfs_is_refused(made: GitRepository) -> None:
    """It is likely the wrong folder."""
    made.commit("one", {"x": b"1"})
    with pytest.raises(InvalidInput, match="keeps no files"):
        list(GitLfsSource(str(made.folder)).versions())


def test_a_history_is_imported_once(
    made: GitRepository, server: LfsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every object is verified by its SHA-256; damage is left out and named."""
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repository")
    made.run("config", "remote.origin.url", f"{server.url}/cats.git")
    bad = server.keep(b"bad")
    server.objects[hashlib.sha256(b"bad").hexdigest()] = b"BAD"
    made.commit(
        "one", {"a": server.keep(b"1"), "bad": bad, "none": pointer(b"none"), "empty": server.keep(b"")}
    )
    report = import_versions(repo, GitLfsSource(str(made.folder)))
    assert sorted(name for name, _ in report.problems) == ["bad in cats@1.0.0", "none in cats@1.0.0"]
    made.commit("two", {"b": kept(made.folder / ".git", b"2")})
    again = import_versions(repo, GitLfsSource(str(made.folder)))
    assert ([each.ref for each in again.versions], again.known, again.files) == (["cats@1.0.1"], 1, 1)
    assert {path: repo.version("cats").read(path) for path in ("a", "b", "empty")} == {
        "a": b"1",
        "b": b"2",
        "empty": b"",
    }
