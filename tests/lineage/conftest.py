"""What the tests of lineage share."""

import pytest

from .lab import Lab

HAL = """
import threading
_local = threading.local()
active_by_thread = {}
def start(run):
    active_by_thread[threading.get_ident()] = run
def end():
    del active_by_thread[threading.get_ident()]
def active():
    return active_by_thread.get(threading.get_ident())
"""
HAL_DATAVER = """
import sys
class Hal:
    system, module = "hal", "hal"
    def current(self):
        run = sys.modules["hal"].active()
        if run is None:
            return None
        if run == "broken":
            raise OSError("no run for you")
        from dataver.formats.event import Context
        return Context(system="hal", id=run, kind="tracker", facts={"project": "space"})
    def note(self, context, use):
        if context.id == "down":
            raise ConnectionError("hal does not answer")
        with open("hal.txt", "a") as file:
            file.write(f"{context.id} {use.role} {use.ref} {use.asked}\\n")
    def of(self, given):
        return None
TRACKER = Hal()
"""


@pytest.fixture
def lab(tmp_path, monkeypatch, copy_of):
    """A repository with two versions of `cats`, and processes with lineage on."""
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path, copy_of)


@pytest.fixture
def hal(lab):
    """A lab where the tracker `hal` and its part for dataver are installed.

    It is a package of its own, found by its entry point as any other: its runs are per thread, as MLflow's
    are, and it writes what it is told into a file.
    """
    site = lab.root / "site"
    (site / "hal_dataver-1.0.dist-info").mkdir(parents=True)
    (site / "hal_dataver-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: hal-dataver\nVersion: 1.0\n"
    )
    (site / "hal_dataver-1.0.dist-info" / "entry_points.txt").write_text(
        "[dataver.trackers]\nhal = hal_dataver:TRACKER\n"
    )
    (site / "hal.py").write_text(HAL)
    (site / "hal_dataver.py").write_text(HAL_DATAVER)
    lab.environment["PYTHONPATH"] = str(site)
    lab.told = lab.work / "hal.txt"
    return lab
