"""`add-external`, and what other commands say of files that stayed where they are."""

from pathlib import Path

from command_line import Run


def test_files_elsewhere_from_recording_to_fetching(run: Run, work: Path, photos: Path) -> None:
    """Planned, recorded, listed with their places, counted apart, fetched; what changed is told by name."""
    run("init", "repo")
    run("create", "vision/cats")
    planned = run("add-external", photos, "--dest", "train", "--exclude", "*.csv", "--plan")
    assert "to record  4 files, 90.0 kB" in planned.out and f"to allow   file://{photos}" in planned.out
    assert run("ls", "--draft", "-r").out == ""
    done = run("add-external", photos, "--dest", "train", "--exclude", "*.csv")
    assert "Recorded in vision/cats: 4 files that stay where they are (90.0 kB)" in done.err
    assert "now allowed on this machine" in done.err
    run("add", photos / "labels.csv")
    assert f"train/a.jpg  at file://{photos}/a.jpg" in run("ls", "--draft", "-l", "-r").out
    run("finalize", "-m", "first")
    run("upload")
    listed = {each["path"]: each.get("external") for each in run("ls", "vision/cats", "-r", "--json").json}
    assert listed["train/sub/c.jpg"] == f"file://{photos}/sub/c.jpg" and listed["labels.csv"] is None
    assert "EXTERNAL" in run("du").out and run("du", "--json").json["repository"]["external"] == 90_000
    run("fetch", "vision/cats", "--dest", "out")
    assert (work / "out/train/a.jpg").read_bytes() == (photos / "a.jpg").read_bytes()
    run("create", "vision/cats", "--parent", "vision/cats")
    again = run("add-external", photos, "--dest", "train", "--exclude", "*.csv", "--json").json
    assert (again["files"], again["unchanged"], again["read"], again["allowed"]) == (4, 3, 0, None)
    (photos / "a.jpg").write_bytes(bytes(30_000))
    failed = run("cat", "vision/cats", "train/a.jpg", expect=6)
    assert f"file://{photos}/a.jpg was changed after it was recorded" in failed.err
    assert "train/a.jpg" in run("verify", "vision/cats", expect=6).out
    assert run("add-external", "--plan", photos / "nothing", expect=4).err
