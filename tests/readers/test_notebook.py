"""A notebook that uses dataver: what its cells show, as text and as HTML, and its progress bars."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    "import dataver; repo = dataver.init('repo'); repo",
    "repo.sync('photos', 'vision/cats', message='June', progress=True)",
    "open('photos/b.jpg', 'w').write('b'); repo.sync('photos', 'vision/cats', message='July')",
    "fetched = dataver.fetch('vision/cats', repo=repo, progress=True); fetched",
    "repo.diff('vision/cats@1.0.0', 'vision/cats@1.0.1')",
    "repo.versions('vision/cats')",
    "repo.lineage.version('vision/cats@1.0.1')",
    "repo.version('vision/cats')",
    "repo.create('vision/cats', parents='vision/cats@latest')",
    "dataver.fetch('vision/dogs', repo=repo)",
]


@pytest.fixture
def outputs(machine: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The outputs of each cell, run in a kernel."""
    (machine / "photos").mkdir()
    (machine / "photos" / "a.jpg").write_bytes(b"a" * 100_000)
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(
        notebook, timeout=300, allow_errors=True, resources={"metadata": {"path": str(machine)}}
    )
    client.execute()
    return [cell.outputs for cell in notebook.cells]


def shown(cell: list[Any], form: str = "text/plain") -> str:
    """Return a cell's value in a form; an empty text if it has none."""
    return "".join(each["data"].get(form, "") for each in cell if each["output_type"] == "execute_result")


def test_cells_show_what_a_person_reads(outputs: list[list[Any]]) -> None:
    """Values show names and numbers, progress is a widget, an error is one sentence with its hint."""
    repo, synced, again, fetched, diff, versions, lineage, version, draft, missing = outputs
    for cell in (synced, fetched):
        data = [each["data"] for each in cell if each["output_type"] == "display_data"]
        assert any("application/vnd.jupyter.widget-view+json" in each for each in data), cell
    assert " object at 0x" not in "".join(map(shown, outputs[:-1]))
    assert "vision/cats@1.0.0" in shown(synced)
    assert "files=2" in shown(fetched)
    assert "files=2" in shown(again)
    assert shown(repo).startswith("Repository('/")
    assert shown(diff) == "Diff(added=1, removed=0, modified=0, renamed=0)"
    assert "vision/cats@1.0.0" in shown(versions)
    assert "vision/cats@1.0.1" in shown(lineage)
    assert shown(version).startswith("Version('vision/cats@1.0.1'")
    for cell, text in (
        *((repo, "no datasets"), (diff, "b.jpg"), (lineage, "<svg"), (version, "July"), (draft, "draft")),
        *((versions, ""), (fetched, "")),
    ):
        html = shown(cell, "text/html")
        assert text in html
        assert bool(text) == html.startswith("<div")
    (error,) = missing
    assert error["ename"] == "NotFound"
    assert "did you mean vision/cats?" in error["evalue"]
