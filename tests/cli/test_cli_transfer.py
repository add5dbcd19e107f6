"""push, pull and mirror on the command line."""

import json

import dataver


def test_push_plans_moves_and_repeats(run, two_versions, work):
    """--plan changes nothing; the move prints what it published; again it says there is nothing to do."""
    run("init", work / "other", "--no-config")
    plan = run("push", "other", "vision/cats", "--plan", "--json").json
    assert plan["versions"] == ["vision/cats@1.0.0", "vision/cats@1.0.1"]
    assert plan["tags"] == ["vision/cats@production"]
    assert dataver.open("other").datasets() == []
    text = run("push", "other", "vision/cats", "--plan").out
    assert "vision/cats@production -> 1.0.1" in text
    assert "2 versions (0 already there)" in text
    done = run("push", "other", "vision/cats", "--verify")
    assert done.out.split() == ["vision/cats@1.0.0", "vision/cats@1.0.1"]
    assert "verified there" in done.err
    again = run("push", "other", "vision/cats")
    assert again.out == ""
    assert again.err.startswith("Nothing to move")
    assert run("list", "vision/cats", "--repo", "other", "--json").json


def test_pull_and_mirror_bring_the_same(run, two_versions, work):
    """A mirror makes its target; a plan of it does not; a pull into another one brings one version."""
    plan = run("mirror", "repo", "backup", "--plan", "--json").json
    assert (len(plan["versions"]), plan["target"]) == (2, str(work / "backup"))
    assert not (work / "backup").exists()
    report = run("mirror", "repo", "backup", "--json").json
    assert (report["versions"], report["problems"]) == (plan["versions"], [])
    assert report["size"] == plan["size"]
    run("init", work / "third", "--no-config")
    run("pull", "backup", "vision/cats@production", "--repo", "third", "--quiet")
    assert dataver.open("third").version("vision/cats@production").label == "1.0.1"
    assert [each.label for each in dataver.open("third").versions("vision/cats")] == ["1.0.1"]


def test_what_cannot_be_moved_ends_as_done_in_part(run, two_versions, work):
    """A label that means another version in the target, and a child of it: exit code 3, names in the list."""
    run("init", work / "other", "--no-config")
    (two_versions / "mine").write_text("mine")
    run("sync", two_versions, "--name", "vision/cats", "--repo", "other")
    done = run("push", "other", "--json", expect=3)
    assert done.json["versions"] == []
    problems = json.loads(done.err)["problems"]
    names = [f"vision/cats@1.0.{number}" for number in range(2)]
    assert [each["name"] for each in problems if "conflict" in each["reason"]] == names
    run("push", "nowhere", expect=4)
    run("push", "repo", expect=1)
