"""What was fetched before a tracker's run began is available to it."""


def test_a_fetch_inside_a_trackers_run_is_its(hal) -> None:
    """The run's key is the tracker's, its facts are kept, and the tracker is told."""
    hal.run(
        "import dataver, hal, dataver.lineage.record.recorder; hal.start('1'); dataver.fetch('cats@1.0.0')"
    )
    (event,) = hal.events()
    assert event.run.key == "hal:1"
    assert event.run.contexts[0].facts == {"project": "space"}
    assert hal.told.read_text() == "1 input cats@1.0.0 cats@1.0.0\n"


def test_the_first_fetch_sees_the_run_of_its_own_thread(hal) -> None:
    """The run is over before anything slow has begun."""
    for run in ("1", "2"):
        hal.run(f"import dataver, hal; hal.start('{run}'); dataver.fetch('cats@1.0.0'); hal.end()")
    assert hal.links().keys() == {"hal:1", "hal:2"}


def test_a_fetch_before_the_run_is_available_to_it(hal) -> None:
    """Nothing was sent yet: there is one run, the tracker's, with both links, and no trace of another."""
    hal.run(
        """
        import dataver, hal, dataver.lineage.record.recorder
        dataver.fetch("cats")
        hal.start("1")
        dataver.fetch("cats@1.0.0")
        """
    )
    assert hal.links() == {"hal:1": {("input", "1.0.0", "fetch"), ("input", "1.0.1", "available")}}
    assert hal.told.read_text() == "1 input cats@1.0.1 cats\n1 input cats@1.0.0 cats@1.0.0\n"


def test_a_run_that_begins_after_the_last_fetch_is_found_at_exit(hal) -> None:
    """No note comes after it."""
    hal.run("import dataver, hal; dataver.fetch('cats'); hal.start('1')")
    assert hal.links() == {"hal:1": {("input", "1.0.1", "available")}}


def test_what_was_sent_already_is_said_again_under_the_trackers_run(hal) -> None:
    """The run of the process names the one that it was available to; it keeps what it was."""
    hal.run(
        """
        import dataver, hal
        from dataver.lineage.record.recorder import flush
        dataver.fetch("cats@1.0.0")
        assert flush()
        hal.start("1")
        """
    )
    parts = {event.run.key: event.run.part_of for event in hal.events()}
    assert parts.pop("hal:1") is None
    assert list(parts.values()) == ["hal:1"]
    assert hal.links()["hal:1"] == {("input", "1.0.0", "available")}


def test_every_run_of_a_sweep_gets_what_was_fetched_before(hal) -> None:
    """One fetch, several runs after another in one process: the data was there for each of them."""
    hal.run(
        """
        import dataver, hal
        from dataver.lineage.record.recorder import look_again
        dataver.fetch("cats@1.0.0")
        import dataver.lineage.record.recorder
        for run in ("1", "2"):
            hal.start(run)
            look_again()
            hal.end()
        hal.start("3")
        dataver.fetch("cats@1.0.1")
        """
    )
    before = ("input", "1.0.0", "available")
    assert hal.links() == {
        "hal:1": {before},
        "hal:2": {before},
        "hal:3": {before, ("input", "1.0.1", "fetch")},
    }


def test_what_is_read_again_in_the_run_is_no_longer_only_available(hal) -> None:
    """A fetch of the same part is the run's own; nothing of an earlier run reaches a later one."""
    hal.run(
        """
        import dataver, hal
        dataver.fetch("cats@1.0.0")
        hal.start("1")
        dataver.fetch("cats@1.0.0")
        dataver.fetch("cats@1.0.1")
        hal.start("2")
        """
    )
    assert hal.links() == {
        "hal:1": {("input", "1.0.0", "fetch"), ("input", "1.0.1", "fetch")},
        "hal:2": {("input", "1.0.0", "available")},
    }


def test_outputs_never_reach_a_later_run(hal) -> None:
    """What the process made before the run began is its own run's."""
    hal.run(
        """
        import dataver, hal
        dataver.open().sync("photos", "made")
        hal.start("1")
        dataver.fetch("cats@1.0.0")
        """
    )
    assert hal.links()["hal:1"] == {("input", "1.0.0", "fetch")}
    assert {("output", None, "finalize")} in hal.links().values()


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
        import dataver, hal, dataver.lineage.record.recorder
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
        import dataver, multiprocessing, dataver.lineage.record.recorder
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
