"""`tag --protect`, and what refuses to move such a tag."""

from pathlib import Path

from command_line import Run


def test_a_protected_tag_needs_force_and_a_reason(run: Run, two_versions: Path) -> None:
    """`tag`, `untag`, `sync --tag` and `delete` refuse it; audit and history have the reason."""
    done = run("tag", "vision/cats@1.0.0", "stable", "--protect")
    assert "now points to vision/cats@1.0.0 and is protected" in done.err
    assert run("tag", "vision/cats").out.splitlines()[2].split() == [
        "vision/cats@stable",
        "1.0.0",
        "protected",
    ]
    assert "is protected and stays at 1.0.0" in run("tag", "vision/cats@1.0.1", "stable", expect=5).err
    assert "only with a reason" in run("tag", "vision/cats@1.0.1", "stable", "--force", expect=1).err
    run("untag", "vision/cats", "stable", expect=5)
    run("delete", "vision/cats@1.0.0", "--force", "--yes", expect=5)
    (two_versions / "more").write_text("more")
    run("sync", two_versions, "--name", "vision/cats", "--tag", "stable", expect=5)
    assert [each["label"] for each in run("list", "vision/cats", "--json").json] == ["1.0.1", "1.0.0"]
    run("tag", "vision/cats@1.0.1", "stable", "--force", "--reason", "reviewed by ann")
    assert run("tag", "vision/cats", "stable", "--history", "--json").json[-1]["reason"] == "reviewed by ann"
    assert run("audit", "vision/cats").out.splitlines()[-1].endswith("1.0.1, protected: reviewed by ann")
    assert run("audit", "vision/cats", "--json").json[-1]["protected"] is True
    run("untag", "vision/cats@stable", "--force", "--reason", "unused")
    assert "unused" in run("audit", "vision/cats").out.splitlines()[-1]


def test_options_of_a_move_need_a_tag(run: Run, two_versions: Path) -> None:
    """A command that would only list refuses them."""
    run("tag", "vision/cats", "--protect", expect=2)
    run("tag", "vision/cats", "stable", "--history", "--force", expect=2)
