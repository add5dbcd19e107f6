"""`describe`: what a version is, said after it was published."""

from pathlib import Path

from command_line import Run


def test_describe_and_show(run: Run, two_versions: Path) -> None:
    """What is given is kept, the rest stays; `show` has it, and `--history` all of it."""
    assert "has no description" in run("describe", "vision/cats").err
    done = run(
        "describe",
        "vision/cats@1.0.0",
        "-m",
        "July",
        "--license",
        "mit",
        "--set",
        "lux=[1, 2]",
        "--set",
        "by=ann",
    )
    assert "--history` lists all" in done.err
    run("describe", "vision/cats@1.0.0", "--owner", "ann", "--unset", "by")
    shown = run("describe", "vision/cats@1.0.0", "--json").json
    assert (shown["text"], shown["license"], shown["owner"]) == ("July", "MIT", "ann")
    assert shown["metadata"] == run("show", "vision/cats@1.0.0", "--json").json["metadata"] == {"lux": [1, 2]}
    lines = [line.split(maxsplit=1) for line in run("show", "vision/cats@1.0.0").out.splitlines()]
    assert ["description", "July"] in lines and ["license", "MIT"] in lines and ["owner", "ann"] in lines
    history = run("describe", "vision/cats@1.0.0", "--history").out.splitlines()
    assert [line.split()[0] for line in history[1:]] == ["1", "2"]
    values = {each["label"]: each["description"] for each in run("list", "vision/cats", "--json").json}
    assert values["1.0.1"] is None and values["1.0.0"]["number"] == 2
    assert "describe" in run("audit", "vision/cats").out


def test_describe_a_dataset_with_a_readme(run: Run, two_versions: Path) -> None:
    """`--dataset` is apart from the latest version."""
    (two_versions / "CARD.md").write_text("# Cats\n\nAll of them.\n")
    run("describe", "vision/cats", "--dataset", "-m", "all", "--readme", two_versions / "CARD.md")
    assert run("describe", "vision/cats", "--dataset").out.splitlines()[-3:] == ["# Cats", "", "All of them."]
    assert run("describe", "vision/cats", "--json").json is None
    assert len(run("describe", "vision/cats", "--dataset", "--history", "--json").json) == 1


def test_wrong_descriptions_are_one_sentence(run: Run, two_versions: Path) -> None:
    """Nothing is written."""
    assert "not an SPDX license" in run("describe", "vision/cats", "--license", "free", expect=1).err
    assert "has no metadata 'x'" in run("describe", "vision/cats", "--unset", "x", expect=1).err
    assert "cannot be read" in run("describe", "vision/cats", "--readme", "nothing.md", expect=1).err
    run("describe", "vision/cats@1.0.0", "--dataset", "-m", "x", expect=2)
    run("describe", "vision/cats", "--history", "-m", "x", expect=2)
    run("describe", "vision/dogs", "-m", "x", expect=4)
    assert run("describe", "vision/cats", "--history", "--json").json == []


def test_the_history_shows_what_changed(run: Run, two_versions: Path) -> None:
    """A description whose text stayed says which fields did not; a dataset without one says how to add it."""
    run("describe", "vision/cats", "-m", "July", "--license", "MIT")
    run("describe", "vision/cats", "--metadata", "lux=1")
    rows = [line.split() for line in run("describe", "vision/cats", "--history").out.splitlines()]
    assert rows[0][-2:] == ["CHANGED", "TEXT"]
    assert [" ".join(row[5:]) for row in rows[1:]] == ["text, license July", "metadata July"]
    hint = "`dataver describe vision/cats --dataset -m TEXT` adds one"
    assert hint in run("describe", "vision/cats", "--dataset").err
    assert hint in run("describe", "vision/cats", "--dataset", "--history").err
