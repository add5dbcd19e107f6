"""`progress=True`: a bar for people who call the library."""

from pathlib import Path

import pytest

import dataver


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files, and a cache of its own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.bin").write_bytes(bytes([number]) * 50_000)
    return folder


def test_true_shows_a_bar_for_each_step(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Adding, sending, fetching, verifying: each names itself and counts to the end, on stderr."""
    repo = dataver.init(tmp_path / "repo")
    repo.sync(source, "d", workspace=tmp_path, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "Mirroring" in said.err
    assert "Uploading: 100%" in said.err
    dataver.fetch("d", repo=repo, progress=True)
    assert "Fetching: 100%" in capsys.readouterr().err
    repo.verify("d", progress=True)
    assert "Verifying: 100%" in capsys.readouterr().err


def test_nothing_is_shown_unless_it_is_wanted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """False is as silent as the default."""
    repo = dataver.init(tmp_path / "repo")
    repo.sync(source, "d", workspace=tmp_path, progress=False)
    repo.fetch("d", progress=False)
    assert capsys.readouterr().err == ""
