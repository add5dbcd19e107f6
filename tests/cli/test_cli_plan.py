"""`fetch --plan` and `upload --plan`: what is shown, and that nothing is done."""

from pathlib import Path

from command_line import Run


def test_plans_are_shown_and_nothing_is_done(run: Run, work: Path, photos: Path) -> None:
    """Files, bytes, requests and time in text and JSON; afterwards nothing is published or fetched."""
    run("init", "repo")
    run("create", "vision/cats")
    run("add", photos)
    run("finalize", "-m", "first")
    done = run("upload", "--plan")
    assert "5 files" in done.out
    assert "1 pack and 1 tree block" in done.out
    assert "unknown" in done.out
    planned = run("upload", "--plan", "--json").json
    assert (planned["files"], planned["packs"], planned["already"]) == (5, 1, False)
    run("fetch", "vision/cats", expect=4)
    sent = run("upload", "--json").json
    assert sent["size"] == planned["transferred"]
    assert run("upload", "--plan", "--draft", sent["draft"], "--json").json["already"] is True
    done = run("fetch", "vision/cats", "--plan", "--dest", "out")
    assert "to move" in done.out
    assert "just now" in done.out
    assert not (work / "out").exists()
    planned = run("fetch", "vision/cats", "--plan", "--dest", "out", "--include", "*.jpg", "--json").json
    got = run("fetch", "vision/cats", "--dest", "out", "--include", "*.jpg", "--json").json
    assert (planned["files"], planned["transferred"]) == (got["files"], got["transferred"])
    run("fetch", "--run", "x:1", "--plan", expect=2)
