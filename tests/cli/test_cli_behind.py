"""What the command line says when others published meanwhile."""

from pathlib import Path

from command_line import Run


def start(run: Run, work: Path) -> tuple[str, str]:
    """Make a dataset and two sealed drafts of its first version, which both change one file."""
    run("init", "repo")
    (work / "s").mkdir()
    (work / "s" / "a").write_text("first")
    run("sync", "s", "--name", "d")
    drafts = []
    for name in ("one", "two"):
        draft = run("create", "d", "--parent", "d", "--json").json["draft"]
        (work / name).mkdir()
        (work / name / "a").write_text(name)
        (work / name / name).write_text(name)
        run("add", name, "--draft", draft)
        run("finalize", "--draft", draft)
        drafts.append(draft)
    return drafts[0], drafts[1]


def test_a_conflict_names_the_other_version_and_the_next_step(run: Run, work: Path) -> None:
    """Nothing is published; with --rebase the draft's content counts, and the closing line says so."""
    one, two = start(run, work)
    run("upload", "--draft", one)
    refused = run("upload", "--draft", two, expect=5)
    assert "d@1.0.1 was published meanwhile, and both it and this draft changed a." in refused.err
    assert "--rebase" in refused.err
    assert "--allow-fork" in refused.err
    done = run("upload", "--draft", two, "--rebase")
    assert done.out.split()[0] == "d@1.0.2"
    assert "d@1.0.1 was published meanwhile; the draft's changes were applied to it." in done.err
    assert run("cat", "d", "a").out == "two"


def test_a_fork_is_told_of(run: Run, work: Path) -> None:
    """Its label, that `latest` does not mean it, and `show` says it, too."""
    one, two = start(run, work)
    run("upload", "--draft", one, "--tag", "good")
    done = run("upload", "--draft", two, "--allow-fork")
    assert done.out.split()[0] == "d@1.0.0-fork.1"
    assert "d@1.0.0-fork.1 is a fork beside d@1.0.1; d@latest is not changed." in done.err
    assert run("cat", "d", "a").out == "one"
    assert "fork" in run("show", "d@1.0.0-fork.1").out
    assert run("show", "d@1.0.0-fork.1", "--json").json["line"] == "1.0.0-fork.1"


def test_flags_without_an_upload_are_refused(run: Run, work: Path) -> None:
    """`finalize --rebase` without --upload, `sync --allow-fork` without --name."""
    start(run, work)
    run("create", "d", "--parent", "d")
    run("finalize", "--rebase", expect=2)
    run("sync", "s", "--allow-fork", expect=2)
