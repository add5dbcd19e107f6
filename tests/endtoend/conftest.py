"""Repositories in every kind of place, and machines that share nothing but the repository."""

import os
import secrets
import shutil
from pathlib import Path

import pytest

import dataver
from servers import chosen

PLACES = ["folder", *(pytest.param(name, marks=pytest.mark.servers) for name in chosen())]


class Place:
    """Where a repository lies.

    Attributes:
        url: its URL.
        options: storage options that reach it.
        environment: variables that reach it instead.
        exclusive: whether it honours create-if-absent.
    """

    def __init__(self, url, server=None):
        self.url = url
        self.options = server.options if server else None
        self.environment = server.environment if server else {}
        self.exclusive = server.exclusive if server else True


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    """A folder and each server in turn."""
    if request.param == "folder":
        return Place(str(tmp_path / "repository"))
    server = request.getfixturevalue(f"{request.param}_server")
    return Place(server.url(f"endtoend/{secrets.token_hex(6)}"), server)


class Machine:
    """A cache and a workspace of its own."""

    def __init__(self, root, monkeypatch):
        self.root, self._monkeypatch = root, monkeypatch
        (root / "work").mkdir(parents=True)

    def sit_down(self):
        """Work here from now on."""
        self._monkeypatch.setenv("DATAVER_CACHE", str(self.root / "cache"))
        self._monkeypatch.chdir(self.root / "work")
        return self

    def open(self, place):
        """Open a repository from here."""
        self.sit_down()
        return dataver.open(place.url, storage_options=place.options)


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Two machines; whoever sits down at one works there."""
    yield [Machine(tmp_path / name, monkeypatch) for name in ("first", "second")]
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        for path, _, _ in os.walk(tmp_path / name):
            os.chmod(path, 0o755)
        shutil.rmtree(tmp_path / name)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }
