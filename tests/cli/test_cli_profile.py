"""`profile`: what the files of a version are."""

import zipfile
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
    assert (again["made"], again["known"], len(again["problems"])) == ({}, 6, 3)
    shown = run("profile", "vision/cats", "notes.*", "broken.json")
    assert [line.split()[:2] for line in shown.out.splitlines()] == [
        ["PATH", "KIND"],
        ["broken.json", "json"],
        ["notes.txt", "text"],
    ]
    assert "utf-8, 2 lines" in shown.out
    assert run("profile", "vision/cats").out == made.out
    (found,) = run("profile", "vision/cats", "notes.txt", "--json").json["profiles"]
    assert found == {"path": "notes.txt", "kind": "text", "full": True, "encoding": "utf-8", "lines": 2}


def test_profile_names_what_to_install(run: Run, two_versions: Path, monkeypatch) -> None:
    (two_versions / "a.png").write_bytes(b"x")
    run("sync", two_versions, "--name", "vision/cats")
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    result = run("profile", "vision/cats", "a.png", expect=3)
    assert "pip install 'dataver[images]'" in result.err
    run("profile", "vision/cats", "nothing", expect=4)


def test_profile_says_what_files_are(run: Run, two_versions: Path) -> None:
    import io

    import numpy as np
    import soundfile

    np.save(two_versions / "x.npy", np.zeros((10, 3), "float32"))
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(8000), 8000, format="WAV")
    (two_versions / "s.wav").write_bytes(sound.getvalue())
    (two_versions / "j.json").write_text('{"a": 1, "b": [2]}')
    with zipfile.ZipFile(two_versions / "z.zip", "w") as archive:
        archive.writestr("m", "sixsix")
    (two_versions / "odd.xyz").write_text("?")
    run("sync", two_versions, "--name", "vision/cats")
    shown = run("profile", "vision/cats", "x.npy", "s.wav", "j.json", "z.zip").out
    for text in ("10x3 float32", "1.00 s, 8 kHz, mono", "object with a, b", "1 member, 6 B"):
        assert text in shown
    assert run("profile", "vision/cats", "odd.xyz").out == "No file of these has a profile.\n"
