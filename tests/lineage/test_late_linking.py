"""A tracker's run that begins after the fetch gets what was noted before.

The tracker `hal` is a package of its own, found by its entry point as any other: its runs are per thread, as
MLflow's are, and it writes what it is told into a file.
"""

import pytest

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
def hal(lab):
    """A lab where the tracker `hal` and its part for dataver are installed."""
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


def test_a_fetch_inside_a_trackers_run_is_its(hal) -> None:
    """The run's key is the tracker's, its facts are kept, and the tracker is told."""
    hal.run("import dataver, hal, dataver.lineage.recorder; hal.start('1'); dataver.fetch('cats@1.0.0')")
    (event,) = hal.events()
    assert event.run.key == "hal:1"
    assert event.run.contexts[0].facts == {"project": "space"}
    assert hal.told.read_text() == "1 input cats@1.0.0 cats@1.0.0\n"


def test_the_first_fetch_sees_the_run_of_its_own_thread(hal) -> None:
    """The run is over before anything slow has begun; known trackers of other packages are remembered."""
    for run in ("1", "2"):
        hal.run(f"import dataver, hal; hal.start('{run}'); dataver.fetch('cats@1.0.0'); hal.end()")
    (kept,) = (hal.root / "state" / "lineage").glob("trackers-*.json")
    assert '"modules": ["hal"]' in kept.read_text()
    kept.write_text("rubbish")
    hal.run("import dataver, hal; hal.start('3'); dataver.fetch('cats@1.0.0'); hal.end()")
    assert hal.links().keys() == {"hal:1", "hal:2", "hal:3"}


def test_a_fetch_before_the_run_moves_to_it(hal) -> None:
    """Nothing was sent yet: there is one run, the tracker's, with both links, and no trace of another."""
    hal.run(
        """
        import dataver, hal, dataver.lineage.recorder
        dataver.fetch("cats")
        hal.start("1")
        dataver.fetch("cats@1.0.0")
        """
    )
    assert hal.links() == {"hal:1": {("input", "1.0.0", "fetch"), ("input", "1.0.1", "fetch")}}
    assert hal.told.read_text() == "1 input cats@1.0.1 cats\n1 input cats@1.0.0 cats@1.0.0\n"


def test_a_run_that_begins_after_the_last_fetch_is_found_at_exit(hal) -> None:
    """No note comes after it."""
    hal.run("import dataver, hal; dataver.fetch('cats'); hal.start('1')")
    assert hal.links() == {"hal:1": {("input", "1.0.1", "fetch")}}


def test_what_was_sent_already_is_said_again_under_the_trackers_run(hal) -> None:
    """The run of the process says what took over; it keeps what it was."""
    hal.run(
        """
        import dataver, hal
        from dataver.lineage.recorder import flush
        dataver.fetch("cats@1.0.0")
        assert flush()
        hal.start("1")
        """
    )
    parts = {event.run.key: event.run.part_of for event in hal.events()}
    assert parts.pop("hal:1") is None
    assert list(parts.values()) == ["hal:1"]
    assert hal.links()["hal:1"] == {("input", "1.0.0", "fetch")}


def test_every_run_of_a_sweep_gets_what_was_fetched_before(hal) -> None:
    """One fetch, several runs after another in one process: the data was there for each of them."""
    hal.run(
        """
        import dataver, hal
        from dataver.lineage.recorder import look_again
        dataver.fetch("cats@1.0.0")
        import dataver.lineage.recorder
        for run in ("1", "2"):
            hal.start(run)
            look_again()
            hal.end()
        hal.start("3")
        dataver.fetch("cats@1.0.1")
        """
    )
    before = ("input", "1.0.0", "fetch")
    assert hal.links() == {
        "hal:1": {before},
        "hal:2": {before},
        "hal:3": {before, ("input", "1.0.1", "fetch")},
    }


def test_links_of_a_run_that_the_user_named_stay(hal) -> None:
    """The tracker's run inside it is their context."""
    hal.run(
        """
        import dataver, hal
        with dataver.run("mine", key="paper:1"):
            dataver.fetch("cats@1.0.0")
            hal.start("1")
            dataver.fetch("cats@1.0.1")
        """
    )
    (event,) = hal.events()
    assert event.run.key == "paper:1"
    assert {link.label: link.context for link in event.links} == {"1.0.0": None, "1.0.1": "hal:1"}
    assert {context.key for context in event.run.contexts} == {"hal:1"}
    assert hal.told.read_text() == "1 input cats@1.0.1 cats@1.0.1\n"


def test_a_tracker_that_is_down_loses_no_link(hal) -> None:
    """What it cannot take is said once; the repository has the link."""
    said = hal.run(
        """
        import dataver, hal, dataver.lineage.recorder
        hal.start("down")
        dataver.fetch("cats@1.0.0")
        dataver.fetch("cats@1.0.1")
        """
    )
    assert said.count("LineageWarning") == 1 and "hal does not answer" in said
    assert len(hal.links()["hal:down"]) == 2


def test_a_tracker_that_raises_has_no_run(hal) -> None:
    """Invariant 8."""
    assert hal.run("import dataver, hal; hal.start('broken'); dataver.fetch('cats')") == ""
    ((key, links),) = hal.links().items()
    assert key.startswith("dataver:") and len(links) == 1


def test_workers_under_a_trackers_run_add_to_it(hal) -> None:
    """A spawned worker has no active run of the tracker's: its parent tells which it was."""
    hal.run(
        """
        import dataver, multiprocessing, dataver.lineage.recorder
        def work():
            dataver.fetch("cats@1.0.1")
        if __name__ == "__main__":
            import hal
            hal.start("1")
            dataver.fetch("cats@1.0.0")
            worker = multiprocessing.get_context("spawn").Process(target=work)
            worker.start()
            worker.join()
        """
    )
    assert hal.links() == {"hal:1": {("input", "1.0.0", "fetch"), ("input", "1.0.1", "fetch")}}
