"""A tracker that another package declares by entry point, really installed (`tests/trackers/hal`)."""

import subprocess
import sys
from pathlib import Path

import pytest

import dataver

from .conftest import Script, linked

HAL = Path(__file__).parent / "hal"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and its metadata, as pip leaves them."""
    where = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")
    for path in HAL.iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", where, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return where


def test_a_declared_tracker_is_found_and_told(
    repo: dataver.Repository, program: Script, installed: Path, tmp_path: Path
) -> None:
    """Its run is the run of the fetch, it is told of the version, and a broken one beside it does no harm."""
    ran = program(
        """
import hal, dataver
hal.start("9000")
dataver.fetch("vision/cats@production")
""",
        PYTHONPATH=str(installed),
    )
    version = repo.version("vision/cats@1.1.0")
    assert linked(repo) == {"hal:9000": {("input", "1.1.0")}}
    log = (tmp_path / "program" / "hal.log").read_text()
    assert log == f"9000 input vision/cats@1.1.0 {version.digest.removeprefix('dv1:')}\n"
    assert ran["stderr"].count("hal_dataver:nothing") == 1


def test_a_declared_tracker_that_is_not_used_is_not_imported(
    repo: dataver.Repository, program: Script, installed: Path
) -> None:
    """The process does not import the tracker's package, so neither does dataver."""
    ran = program(
        """
import sys, dataver
dataver.fetch("vision/cats@1.0.0")
from dataver.lineage.record.recorder import flush
flush(60)
result = {"imported": "hal" in sys.modules}
""",
        PYTHONPATH=str(installed),
    )
    assert ran["imported"] is False
