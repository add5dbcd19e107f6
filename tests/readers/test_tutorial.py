"""The tutorial's third chapter holds: its commands run, and its answers are the right ones."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "docs" / "tutorial-reading.md"
WALK = ROOT / "scripts" / "walk_reading.py"


def test_the_chapter_is_typed_and_its_answers_are_right() -> None:
    """Every command of the chapter is typed, in its order; the script checks what they answer."""
    done = subprocess.run([sys.executable, WALK], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    typed = [_words(line) for line in done.stdout.splitlines() if line.startswith("$ ")]
    shown = [_words(line.strip()) for line in CHAPTER.read_text().splitlines() if line.startswith("    $ ")]
    assert typed == shown
    for line in ("  600 files  ", "  train/**  read", ": 750 files, ", "1 modified; 41 B in, 11 B out."):
        assert line in CHAPTER.read_text()
        assert line in done.stdout


def test_the_chapter_shows_the_programs_that_ran() -> None:
    """`train.py` and `note.py` in the chapter are the script's."""
    text = "\n".join(line.removeprefix("    ") for line in CHAPTER.read_text().splitlines())
    for name in ("TRAIN", "NOTE"):
        program = WALK.read_text().partition(f"{name} = '''")[2].partition("'''\n")[0].strip()
        assert program.replace(r"\\", "\\") in text


def _words(line: str) -> str:
    """Return a command line without what is new each time: the run's id, and where the server is."""
    return re.sub(r"s3://[\w-]+/", "s3://…/", re.sub(r"dataver:[0-9a-f]{8}", "dataver:…", line))
