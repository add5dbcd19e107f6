"""`dataver rename`."""

from pathlib import Path

from command_line import Run


def test_rename_shows_its_plan_and_asks(run: Run, two_versions: Path) -> None:
    """Without a terminal it needs `--yes`; then everything has the new name, and the old one leads to it."""
    planned = run("rename", "vision/cats", "animals/cats", "--plan").out
    assert "vision/cats@1.0.1 -> animals/cats@1.0.1" in planned
    assert "vision/cats@production -> animals/cats@production  (tag of 1.0.1)" in planned
    run("lock", "vision/cats")
    assert "add --yes" in run("rename", "vision/cats", "animals/cats", expect=2).err
    assert [each["name"] for each in run("list", "--json").json] == ["vision/cats"]
    done = run("rename", "vision/cats", "animals/cats", "--yes")
    assert "Renamed vision/cats to animals/cats" in done.err and "2 versions, 1 tag" in done.err
    assert [each["name"] for each in run("list", "--json").json] == ["animals/cats"]
    answer = run("fetch", "vision/cats@production", expect=4).err
    assert "was renamed to 'animals/cats'" in answer and "write animals/cats@production" in answer
    locked = run("fetch", "--locked", "vision/cats", expect=4).err
    assert "dataver.lock locks" in locked and "write animals/cats@1.0.1" in locked
    run("sync", two_versions, "--name", "vision/cats", expect=5)
    assert "Nothing to do" in run("rename", "vision/cats", "animals/cats").err
    assert run("audit", "vision/cats", "--json").json[-1]["text"] == "renamed to animals/cats"
    run("verify")
