"""`profile`: what the files of a version are."""

from pathlib import Path

from command_line import Run


def test_profile_makes_shows_and_repeats(run: Run, two_versions: Path) -> None:
    (two_versions / "notes.txt").write_text("one\ntwo\n")
    (two_versions / "broken.json").write_text("{")
    run("sync", two_versions, "--name", "vision/cats")
    made = run("profile", "vision/cats")
    assert "6 profiles made" in made.err and "3 files broken" in made.err
    assert made.out.startswith("broken.json: it is not JSON")
    again = run("profile", "vision/cats", "--json").json
    assert (again["made"], again["known"], again["problems"]) == ({}, 6, [])
    shown = run("profile", "vision/cats", "notes.*", "broken.json")
    assert [line.split()[:2] for line in shown.out.splitlines()] == [
        ["PATH", "KIND"],
        ["broken.json", "json"],
        ["notes.txt", "text"],
    ]
    assert "lines 2" in shown.out
    (found,) = run("profile", "vision/cats", "notes.txt", "--json").json["profiles"]
    assert found == {"path": "notes.txt", "kind": "text", "full": True, "encoding": "utf-8", "lines": 2}


def test_profile_names_what_to_install(run: Run, two_versions: Path, monkeypatch) -> None:
    (two_versions / "a.png").write_bytes(b"x")
    run("sync", two_versions, "--name", "vision/cats")
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    result = run("profile", "vision/cats", "a.png", expect=3)
    assert "pip install 'dataver[images]'" in result.err
    run("profile", "vision/cats", "nothing", expect=4)
