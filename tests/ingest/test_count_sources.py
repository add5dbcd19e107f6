"""The total that a progress bar shows while files are added."""

import threading
from pathlib import Path

import pytest

import dataver
from dataver.ingest import add_operation


class Receiver:
    """Keeps what it is told; the first news waits for the total."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.totals: list[tuple[int, int]] = []
        self.files = self.size = 0
        self._counted = threading.Event()

    def start(self, total_files: int, total_bytes: int, /) -> None:
        self.totals.append((total_files, total_bytes))
        self._counted.set()

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        if not self.silent:
            assert self._counted.wait(120)
        self.files += files
        self.size += size


@pytest.fixture
def draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Draft:
    """A draft, a folder with an ignored file, and no patience."""
    monkeypatch.setattr(add_operation, "_PATIENCE", 0.0)
    source = tmp_path / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    for number in range(5):
        (source / "sub" / f"{number}.txt").write_text("x" * (number + 1))
    (source / "left.tmp").write_text("not taken")
    (source / "link").symlink_to("sub/0.txt")
    return dataver.init(tmp_path / "repo").create("d", workspace=tmp_path)


def test_the_total_is_what_is_added(draft: dataver.Draft, tmp_path: Path) -> None:
    """Files, links and empty folders of all sources, without what patterns leave out."""
    progress = Receiver()
    report = draft.add(tmp_path / "source", exclude=["*.tmp"], progress=progress)
    assert progress.totals == [(report.files, report.size)] == [(7, 15)]
    assert (progress.files, progress.size) == (7, 15)
    assert report.ignored == 1  # counted once


def test_nothing_is_counted_for_a_silent_receiver(
    draft: dataver.Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second scan where nobody looks."""
    counts: list[object] = []
    monkeypatch.setattr(add_operation, "_count", lambda *given: counts.append(given))
    progress = Receiver(silent=True)
    draft.add(tmp_path / "source", progress=progress)
    assert not counts
    draft.sync(tmp_path / "source")
    assert progress.totals == []
    assert progress.files == 8
