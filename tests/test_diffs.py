"""Differences too large for memory are the same as those that are kept."""

import json
from pathlib import Path

import pytest

import dataver
from dataver.api import diff as diffs
from dataver_cli.main import main


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """Two versions: files were added, removed, modified and renamed, some of them of equal content."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repo")
    source = tmp_path / "source"
    source.mkdir()
    for number in range(12):
        (source / f"twin-{number:02d}").write_bytes(b"same")
        (source / f"own-{number:02d}").write_bytes(b"%d" % number)
    (source / "empty").write_bytes(b"")
    (source / "tool").write_bytes(b"run me")
    repo.sync(source, "d")
    for number in range(0, 12, 2):
        (source / f"twin-{number:02d}").unlink()
        (source / f"own-{number:02d}").rename(source / f"moved-{20 - number:02d}")
        (source / f"own-{number + 1:02d}").write_bytes(b"other %d" % number)
    for number in range(4):
        (source / f"a-new-twin-{number}").write_bytes(b"same")
        (source / f"new-{number}").write_bytes(b"new %d" % number)
    (source / "empty").rename(source / "void")
    (source / "tool").rename(source / "executable")
    (source / "executable").chmod(0o755)
    repo.sync(source, "d", allow_shrink=True)
    return repo


def test_a_difference_that_is_not_kept(repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, lists and the order of paths do not depend on whether the changes are in memory."""
    old, new = repo.version("d@1.0.0"), repo.version("d")
    kept, chosen = old.diff(new), old.diff(new, exclude="new-*")
    first = old.diff()
    monkeypatch.setattr(diffs, "_KEPT", 3)
    for one, other in ((kept, old.diff(new)), (chosen, old.diff(new, exclude="new-*")), (first, old.diff())):
        assert one == other
        assert one.summary() == other.summary()
        for kind in ("added", "removed", "modified", "renamed"):
            assert getattr(one, kind) == getattr(other, kind)
            assert len(getattr(one, kind)) == one.summary()[kind]
        paths = [each.path for each in other]
        assert paths == sorted(set(paths))
    assert kept != chosen
    moved = {(one.path, other.path) for one, other in kept.renamed}
    assert ("tool", "executable") in moved
    assert ("own-02", "moved-18") in moved
    assert {two for _, two in moved if "twin" in two} == {f"a-new-twin-{number}" for number in range(4)}
    assert not {one for one, _ in moved} & {entry.path for entry in kept.removed}
    assert not {two for _, two in moved} & {entry.path for entry in kept.added}
    assert "void" in {entry.path for entry in kept.added}  # empty files are all equal


@pytest.mark.parametrize("command", ["diff d@1.0.0 d", "ls d -r", "ls d -r -l"])
def test_commands_print_the_same_in_parts(
    repo: dataver.Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """A long array is valid JSON with the same values and white space as a short one; lines are the same."""

    def printed(*more: str) -> str:
        assert main(["--repo", repo.url, *command.split(), *more]) == 0
        return capsys.readouterr().out

    lines, text = printed(), printed("--json")
    monkeypatch.setattr(diffs, "_KEPT", 3)
    for size in (1, 2, 7):
        monkeypatch.setattr("dataver_cli.output._ITEMS", size)
        assert (printed(), printed("--json")) == (lines, text)
    assert json.dumps(json.loads(text), indent=2) == text.rstrip("\n")


def test_an_empty_array(repo: dataver.Repository, capsys: pytest.CaptureFixture[str]) -> None:
    """A listing or a difference without content is `[]`."""
    draft = repo.create("nothing")
    draft.finalize(allow_empty=True)
    draft.upload()
    assert main(["--repo", repo.url, "ls", "nothing", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["--repo", repo.url, "diff", "d", "d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == []
