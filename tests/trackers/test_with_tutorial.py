"""The tutorial's second chapter holds: its commands run, and its answers are the right ones."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "docs" / "tutorial-lineage.md"
WALK = ROOT / "scripts" / "walk_lineage.py"


def test_the_chapter_is_typed_and_its_answers_are_right() -> None:
    """Every command of the chapter is typed, in its order; the script checks what they answer."""
    done = subprocess.run([sys.executable, WALK], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    typed = [_words(line) for line in done.stdout.splitlines() if line.startswith("$ ")]
    shown = [_words(line.strip()) for line in CHAPTER.read_text().splitlines() if line.startswith("    $ ")]
    assert typed == shown
    for line in ("became →", "1 modified", "2 versions and 1 run are tainted."):
        assert line in done.stdout
        assert line in CHAPTER.read_text()


def test_the_chapter_shows_the_program_that_ran() -> None:
    """`train.py` in the chapter is the script's."""
    program = WALK.read_text().partition("TRAIN = '''")[2].partition("'''\n")[0].strip()
    text = "\n".join(line.removeprefix("    ") for line in CHAPTER.read_text().splitlines())
    assert program in text


def _words(line: str) -> list[str]:
    """Return a command line without the ids, which are new each time."""
    return [word for word in line.split() if not word.removeprefix("mlflow:").isalnum() or word.isalpha()]
