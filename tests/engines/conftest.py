"""Real engines on real stores (`make engines`): a test file is collected where its engine is installed."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dataver

ENGINE = os.environ.get("DATAVER_TEST_ENGINE")
collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.stem[5:] != ENGINE]

Make = Callable[[], dataver.Repository]


@pytest.fixture(scope="session", autouse=True)
def workers_environment(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """The environment with which engines start their workers: a cache of their own, and the server's key."""
    if not ENGINE:
        pytest.skip("`make engines` runs these tests")
    server = request.getfixturevalue("seaweedfs_server")
    root = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        for name in ("cache", "state"):
            patch.setenv(f"DATAVER_{name.upper()}", str(root / name))
        patch.setenv("DATAVER_LINEAGE", "on")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        yield root


@pytest.fixture(params=["folder", "seaweedfs"])
def repo(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers_environment: Path,
) -> dataver.Repository:
    """An empty repository in a shared folder and on a server; the driver has a cache of its own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "DATAVER_STATE", str(workers_environment / "state")
    )  # with the queue of lineage events
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    for name, value in request.getfixturevalue("seaweedfs_server").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    if request.param == "folder":
        url = str(tmp_path / "repo")
    else:
        url = request.getfixturevalue("seaweedfs_server").url(f"engines/{secrets.token_hex(6)}")
    monkeypatch.setenv("DATAVER_REPO", url)
    return dataver.init(url)


def block(heading: str, old: str, new: str) -> str:
    """Return the program below a heading of docs/engines.md, with one text replaced."""
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text("utf-8")
    code = page.split(f"\n## {heading}\n")[1].split("```python\n")[1].split("```")[0]
    assert old in code
    return code.replace(old, new)


def linked(repo: dataver.Repository) -> dict[str, set[str]]:
    """Return the files or patterns that each run has read, once all events are sent."""
    repo.lineage.sync()
    found = {}
    for run in repo.lineage.runs(everything=True):
        links = repo.lineage.run(run.key).inputs
        if links:
            found[run.key] = {
                path for link in links for path in (link.subset.paths or link.subset.patterns or ("**",))
            }
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of files of many sizes, some of them equal."""
    folder = tmp_path / "source"
    for number in range(80):
        path = folder / f"{number % 5}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number % 40]) * (1 + 900 * number))
    return folder
