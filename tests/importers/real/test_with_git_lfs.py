"""Repositories written by git-lfs: every version comes over, byte for byte."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import dataver
from dataver.hashing.checksums import hasher
from dataver.importers import import_versions
from dataver.importers.git_lfs import GitLfsSource
from importers.git_repository import GitRepository
from importers.lfs_server import lfs_server

MAIN = ["one", "change", "rename", "left", "right", "merge", "out of git-lfs"]


def test_a_pointer_names_the_bytes_by_their_sha256(tmp_path: Path) -> None:
    """The identifier of an object is the checksum by which it is verified."""
    path = tmp_path / "file"
    path.write_bytes(b"data" * 1000)
    command = ["git", "lfs", "pointer", f"--file={path}"]
    pointer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    ours = hasher("sha256", 4000)
    ours.update(path.read_bytes())
    assert f"oid sha256:{ours.hexdigest()}\nsize 4000\n" in pointer


@pytest.fixture
def made(tmp_path: Path) -> GitRepository:
    """A history with a branch and a merge, pushed to a bare repository."""
    made = GitRepository(tmp_path / "cats")
    made.run("lfs", "install", "--local")
    made.run("init", "-q", "--bare", str(tmp_path / "server.git"))
    made.run("remote", "add", "origin", f"file://{tmp_path}/server.git")
    made.run("lfs", "track", "*.bin")
    files = {
        "a.bin": b"a" * 70_000,
        "sub/ä b.bin": b"\r\n" * 9,
        "code.py": b"1",
        "script.bin": b"#!/bin/sh\n",
    }
    made.write(files)
    (made.folder / "script.bin").chmod(0o755)
    made.commit("one")
    made.commit("change", {"a.bin": b"A" * 70_000, "sub/c.bin": b"c"})
    made.commit("code", {"code.py": b"2"})
    made.run("tag", "v1")
    made.run("mv", "sub", "images")
    made.commit("rename")
    made.run("checkout", "-qb", "side")
    made.commit("right", {"right.bin": b"r"})
    made.run("checkout", "-q", "main")
    made.commit("left", {"left.bin": b"l"})
    made.run("merge", "-q", "--no-ff", "-m", "merge", "side")
    made.run("lfs", "untrack", "*.bin")
    made.run("lfs", "track", "images/*")
    made.run("add", "--renormalize", ".")
    made.commit("out of git-lfs")
    made.run("push", "-q", "origin", "--all")
    made.run("push", "-q", "origin", "--tags")
    return made


def checked_out(made: GitRepository, folder: Path, sha: str) -> dict[str, bytes]:
    """Return the files of git-lfs that its own checkout of a commit writes."""
    shutil.copytree(made.folder, folder)
    made.run("-C", str(folder), "checkout", "-qf", sha)
    made.run("-C", str(folder), "lfs", "checkout")
    names = made.run("-C", str(folder), "-c", "core.quotePath=false", "lfs", "ls-files", "-n").splitlines()
    return {name: (folder / name).read_bytes() for name in names}


def from_folder(made: GitRepository) -> str:
    return str(made.folder)


def from_clone(made: GitRepository) -> str:
    """A clone without objects of git-lfs, which are in its origin."""
    return f"file://{made.folder.parent}/server.git"


@pytest.mark.parametrize("where", [from_folder, from_clone])
@pytest.mark.parametrize("in_place", [False, True])
def test_every_version_has_the_bytes_of_git_lfs(
    made: GitRepository, repo: dataver.Repository, where: Callable[[GitRepository], str], in_place: bool
) -> None:
    """In all commits, stored or left in place; with the history of git."""
    report = import_versions(repo, GitLfsSource(where(made), name="cats"), in_place=in_place)
    assert report.problems == []
    assert [version.message for version in report.versions] == MAIN
    assert report.stored == 0 if in_place else report.stored > 0
    found = {version.message: version for version in report.versions}
    for message, version in found.items():
        folder = made.folder.parent / "checkouts" / message
        ours = {entry.path: version.read(entry.path) for entry in version.entries()}
        assert ours == checked_out(made, folder, version.metadata["git_commit"]), message
    labels = {version.label: message for message, version in found.items()}
    assert sorted(labels[parent.label] for parent in found["merge"].parents) == ["left", "right"]
    assert repo.tagged("cats") == {"v1": found["change"].label}
    assert found["one"].entry("script.bin").kind == 1
    assert repo.version("cats").message == "out of git-lfs"
    assert repo.verify("cats").ok


def test_a_repeated_import_brings_only_what_is_new(made: GitRepository, repo: dataver.Repository) -> None:
    """Nothing the second time; after a commit, its file."""
    import_versions(repo, GitLfsSource(str(made.folder)))
    again = import_versions(repo, GitLfsSource(str(made.folder)))
    assert (again.versions, again.known, again.files) == ([], 7, 0)
    made.commit("new", {"images/new.bin": b"new"})
    third = import_versions(repo, GitLfsSource(str(made.folder)))
    assert ([each.message for each in third.versions], third.known, third.files) == (["new"], 7, 1)


def test_damage_is_named_and_loses_nothing_else(made: GitRepository, repo: dataver.Repository) -> None:
    """A missing object and one with other bytes."""
    made.run("remote", "remove", "origin")
    objects = {
        path.read_bytes(): path for path in (made.folder / ".git/lfs/objects").rglob("*") if path.is_file()
    }
    objects[b"l"].unlink()
    objects[b"r"].chmod(0o644)
    objects[b"r"].write_bytes(b"R")
    report = import_versions(repo, GitLfsSource(str(made.folder)))
    assert len(report.versions) == 7
    named = sorted((name.split(" in ")[0], reason) for name, reason in report.problems)
    assert [path for path, _ in named] == ["left.bin"] * 2 + ["right.bin"] * 2
    assert named[0][1] == "it is not in the repository; `git lfs fetch --all` gets it"
    assert "SHA-256" in named[2][1] or "sha256" in named[2][1]


def test_objects_come_from_a_server(made: GitRepository, repo: dataver.Repository) -> None:
    """As git-lfs itself fetches them from it."""
    objects = made.folder / ".git" / "lfs" / "objects"
    with lfs_server() as server:
        for path in objects.rglob("*"):
            if path.is_file():
                server.keep(path.read_bytes())
        shutil.rmtree(objects)
        made.run("config", "lfs.url", f"{server.url}/cats.git/info/lfs")
        made.run("remote", "remove", "origin")
        report = import_versions(repo, GitLfsSource(str(made.folder)))
        assert report.problems == []
        made.run("remote", "add", "web", f"{server.url}/cats.git")
        made.run("lfs", "fetch", "--all", "web")
    assert repo.version("cats@v1").read("a.bin") == b"A" * 70_000
    fetched = {path.name for path in objects.rglob("*") if path.is_file()}
    assert fetched == server.objects.keys()
