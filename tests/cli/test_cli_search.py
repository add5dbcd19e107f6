"""`search` and `list --where`."""

from pathlib import Path

from command_line import Run


def test_search_lists_versions_then_files(run: Run, two_versions: Path) -> None:
    """Where each word was found; a search without result says so."""
    run("describe", "vision/cats@1.0.0", "-m", "Photos of July")
    lines = run("search", "july").out.splitlines()
    assert lines[1].split(maxsplit=2) == ["vision/cats@1.0.0", "description", "Photos of July"]
    assert run("search", "july", "--json").json == [
        {"ref": "vision/cats@1.0.0", "field": "description", "text": "Photos of July"}
    ]
    name = min(path.name for path in two_versions.rglob("*") if path.is_file())
    assert [each["field"] for each in run("search", name, "--json").json] == ["path"]
    assert "Nothing in" in run("search", name, "--no-files").err
    assert "has no word" in run("search", "--", "-", expect=1).err


def test_list_where(run: Run, two_versions: Path) -> None:
    """Over the versions of one dataset or of all; a mistake is one sentence with the columns."""
    run("describe", "vision/cats@1.0.0", "--set", "rows=7")
    assert [each["label"] for each in run("list", "--where", "rows = 7", "--json").json] == ["1.0.0"]
    assert len(run("list", "vision/cats", "--where", "files > 0", "-n", "1", "--json").json) == 1
    assert "no such column: rwos" in run("list", "--where", "rwos = 7", expect=1).err
    assert "matches" in run("list", "vision/", "--where", "rows = 8").err
