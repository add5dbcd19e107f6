"""A folder to work in, and the command line as a function."""

import io
import random
from pathlib import Path

import pytest
from command_line import Done, Run

from dataver_cli.main import main


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_AUTHOR", "ana")
    return folder


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in `work`; `expect` is its exit code, `given` what comes in."""

    def run(*arguments: object, expect: int = 0, given: bytes = b"") -> Done:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = main([str(each) for each in arguments])
        done = Done(code, *capsys.readouterr())
        assert done.code == expect, f"{arguments} ended with {done}"
        return done

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five files."""
    chance = random.Random(7)
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (folder / name).write_bytes(chance.randbytes(30_000))
    (folder / "labels.csv").write_text("".join(f"{n},cat\n" for n in range(20_000)))
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.fixture
def two_versions(run: Run, photos: Path) -> Path:
    """A repository `repo` with `vision/cats` 1.0.0 and 1.0.1, used from here; returns the photos."""
    run("init", "repo")
    run("sync", photos, "--name", "vision/cats", "-m", "first")
    (photos / "b.jpg").unlink()
    (photos / "a.jpg").rename(photos / "z.jpg")
    (photos / "labels.csv").write_text("0,dog\n")
    (photos / "new.txt").write_text("new")
    run("sync", photos, "--name", "vision/cats", "-m", "second", "--tag", "production")
    return photos
