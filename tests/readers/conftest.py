"""Those who read versions where they are, for real (`make readers`).

A test file is collected where its environment is: in the ordinary suite none is; `make readers` names the one
that must be there, so that nothing is left out silently.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataver

FILES = {
    "test_croissant.py": "croissant",
    "test_data_readers.py": "data",
    "test_serve_readers.py": "data",
    "test_duckdb.py": "duckdb",
    "test_notebook.py": "notebook",
}
_wanted = os.environ.get("DATAVER_TEST_READERS")
_here = Path(__file__).parent
collect_ignore = [path.name for path in _here.glob("test_*.py") if FILES.get(path.name, "torch") != _wanted]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for this test, which is also the machine's: its cache, state and configured repository."""
    for name in ("cache", "state", "repo"):
        monkeypatch.setenv(f"DATAVER_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("DATAVER_LINEAGE", "off")
    return tmp_path


@pytest.fixture
def noise() -> random.Random:
    """Numbers that are the same each time."""
    return random.Random(5)


@pytest.fixture
def repo(machine: Path) -> Iterator[dataver.Repository]:
    """The configured repository, empty."""
    from dataver.fs import DataverFileSystem

    DataverFileSystem.clear_instance_cache()
    yield dataver.init(machine / "repo")
    DataverFileSystem.clear_instance_cache()
