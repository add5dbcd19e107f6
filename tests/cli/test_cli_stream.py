"""Sending while adding, as a user types it."""

import random
from pathlib import Path

from command_line import Run


def pack_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if len(path.name) == 64)


def test_add_upload_leaves_no_copy_and_upload_publishes(run: Run, photos: Path, work: Path) -> None:
    """What was added is in the repository, invisible; `upload` has only the tree left to send."""
    run("init", "repo")
    run("create", "vision/cats")
    added = run("add", photos, "--upload", "--json").json
    assert added["sent"] > 90_000
    assert len(pack_names(work / "repo" / "packs")) == 1
    assert pack_names(work / ".dataver") == []
    assert run("list", "--json").json == []
    (photos / "more").write_bytes(random.Random(1).randbytes(50_000))
    assert "sent meanwhile" in run("sync", photos).err  # the draft goes on sending
    run("finalize", "-m", "first")
    sent = run("upload", "--json").json
    assert (sent["packs"], sent["already"]) == (0, False)
    assert run("upload", "--json").json["already"]
    assert run("verify", "vision/cats").code == 0


def test_the_spool_is_a_size(run: Run, photos: Path) -> None:
    """Sizes are written as people write them; nonsense and crumbs are refused."""
    run("init", "repo")
    run("create", "cats")
    assert "--upload" in run("add", photos, "--spool", "1G", expect=2).err
    assert "512M" in run("add", photos, "--upload", "--spool", "much", expect=2).err
    assert "16 MB" in run("add", photos, "--upload", "--spool", "1 MB", expect=1).err
    assert run("add", photos, "--upload", "--spool", "32 MiB", "--json").json["files"] == 5
    run("discard", "--yes")
    assert (
        run("sync", photos, "--name", "cats", "--spool", "1gb", "--json").json["upload"]["packs"] == 0
    )  # the discarded draft sent them


def test_a_tag_is_put_on_a_version_that_is_there_already(run: Run, photos: Path) -> None:
    """Whoever repeats a one-step sync that ended before the tag was put has the tag then; once is enough."""
    run("init", "repo")
    run("sync", photos, "--name", "cats")
    for _ in range(2):
        assert "Nothing changed" in run("sync", photos, "--name", "cats", "--tag", "good").err
    assert run("show", "cats@good", "--json").json["label"] == "1.0.0"
    assert len(list(Path("repo/datasets/cats/tags/good").iterdir())) == 1


def test_standard_input_becomes_a_file(run: Run, work: Path) -> None:
    """A pipe goes straight into the draft, and is a file like any other."""
    data = random.Random(2).randbytes(300_000)
    run("init", "repo")
    run("create", "cats")
    assert run("add", "-", "--as", "dumps/one.bin", "--json", given=data).json["size"] == 300_000
    assert "dumps/two.bin (300.0 kB)" in run("add", "-", "--as", "dumps/two.bin", "--upload", given=data).err
    added = run("status", "--json").json["added"]
    assert [each["path"] for each in added] == ["dumps/one.bin", "dumps/two.bin"]
    run("finalize", "-m", "piped")
    assert run("upload", "--json").json["packs"] <= 1
    for words in (["add", "-"], ["add", "x", "--as", "y"], ["add", "-", "x", "--as", "y"]):
        assert "dataver add - --as PATH" in run(*words, expect=2).err
    assert "--dest" in run("add", "--help").out
