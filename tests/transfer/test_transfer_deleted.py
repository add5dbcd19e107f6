"""Moving where versions were deleted, and beside sweeps: nothing comes back, nothing relied on goes."""

from datetime import timedelta

import pytest

import dataver
from dataver.errors import Conflict, NotFound
from dataver.repository.holds import current_holds


def delete(end, ref):
    end.open().delete(ref, reason="faces")


def sweep(end):
    repository = end.open()
    return repository.gc(grace=timedelta(0), delete_most=True)


def test_a_version_deleted_in_the_target_does_not_come_back(filled):
    """Its label stays buried; it is named, and the others move."""
    filled.source.open().push(filled.target.open())
    delete(filled.target, "text@1.0.0")
    report = filled.source.open().push(filled.target.open())
    assert [name for name, _ in report.problems] == ["text@1.0.0"]
    assert "deleted" in report.problems[0][1]
    with pytest.raises(NotFound, match="faces"):
        filled.target.open().version("text@1.0.0")


def test_tombstones_come_along_so_that_no_label_is_used_again(filled):
    """With everything and with a dataset; the next automatic label in the target is the one in the source."""
    delete(filled.source, "vision/cats@1.0.2")
    report = filled.source.open().push(filled.target.open(), "vision/cats")
    assert (report.tombstones, len(report.versions), report.problems) == (1, 2, [])
    assert filled.target.objects("datasets/vision/") == filled.source.objects("datasets/vision/")
    with pytest.raises(NotFound, match="faces"):
        filled.target.open().version("vision/cats@1.0.2")
    filled.write("next", 10)
    assert filled.publish("vision/cats", filled.target.open()).label == "1.0.3"
    assert filled.source.open().push(filled.target.open(), "vision/cats").tombstones == 0


def test_a_mirror_deletes_nothing_and_names_what_was_deleted(filled):
    """What was deleted in the source after it was moved stays, and so does what the source never had."""
    filled.source.open().push(filled.target.open())
    delete(filled.source, "text@1.0.0")
    filled.write("mine", 10)
    mine = filled.publish("mine", filled.target.open())
    before = filled.target.objects("datasets/")
    plan = dataver.api.transfer.plan(filled.source.open()._core, filled.target.open()._core, exact=True)
    assert (plan.doomed, plan.extra, plan.empty) == (["text@1.0.0"], [mine.ref], True)
    assert dataver.api.transfer.execute(plan).problems == []
    assert filled.target.objects("datasets/") == before


def test_a_sweep_after_the_plan_costs_another_attempt_or_nothing(filled):
    """What the plan took to be in the target is asked for again under a hold: what went is sent, or named."""
    filled.source.open().push(filled.target.open(), ["vision/cats@1.0.0", "text"])
    plan = dataver.api.transfer.plan(filled.source.open()._core, filled.target.open()._core, "vision/cats")
    assert len(plan.near) > 0
    for ref in ("vision/cats@1.0.0", "text@1.0.0"):
        delete(filled.target, ref)
    assert sweep(filled.target).size > 0
    with pytest.raises(Conflict, match="deleted"):
        dataver.api.transfer.execute(plan)
    assert (
        current_holds(filled.target.inner, dataver.machine.store_clock.store_now(filled.target.inner)) == {}
    )
    report = filled.source.open().push(filled.target.open(), "vision/cats", verify=True)
    assert [name for name, _ in report.problems] == ["vision/cats@1.0.0"]
    assert [each.ref for each in report.versions] == ["vision/cats@1.0.1", "vision/cats@1.0.2"]


def test_what_a_sweep_took_that_no_version_had_is_named(filled):
    """What an interrupted move left, and a sweep took after the plan: no record relies on it."""
    filled.source.open().push(filled.target.open(), "vision/cats")
    for key in filled.target.keys("datasets/"):
        del filled.target.inner.objects[key]
    plan = dataver.api.transfer.plan(filled.source.open()._core, filled.target.open()._core, "vision/cats")
    assert (plan.packs, plan.blocks) == (0, 0)
    assert sweep(filled.target).packs == 3
    report = dataver.api.transfer.execute(plan)
    assert report.versions == []
    assert {"vision/cats@1.0.0", "vision/cats@1.0.1"} <= {name for name, _ in report.problems}
    again = filled.source.open().push(filled.target.open(), "vision/cats", verify=True)
    assert (again.problems, len(again.versions)) == ([], 3)


def test_no_sweep_deletes_while_a_move_writes(filled):
    """A sweep that begins in the middle finds the hold, and says so; afterwards it has nothing to free."""
    refused = []

    class Meddling:
        def start(self, files, size, /):
            pass

        def advance(self, files, size, /, new=0):
            if new:  # else it is being checked afterwards
                with pytest.raises(Conflict):
                    sweep(filled.target)
                refused.append(files)

    target = filled.target.open()
    report = filled.source.open().push(target, progress=Meddling(), verify=True)
    assert report.problems == []
    assert len(refused) >= 3
    swept = sweep(filled.target)
    assert (swept.packs, swept.blocks) == (0, 0)


def test_layouts_of_before_a_repack_are_looked_up_again(filled):
    """A machine that read the blocks before the source was repacked moves what they name now."""
    stale = filled.source.open()
    list(stale._core.tree(stale._core.records.get("text", "1.0.0").record.tree).iterate())
    filled.source.open().untag("vision/cats", "production")
    filled.source.open().delete("vision/cats", entire_dataset=True)
    filled.source.inner._strict = False
    sweep(filled.source)
    done = filled.source.open().repack(dead=0.01)
    assert done.packs > 0
    assert sweep(filled.source).packs > 0
    report = stale.push(filled.target.open(), verify=True)
    assert (report.problems, [each.ref for each in report.versions]) == ([], ["text@1.0.0"])
