"""The README's first example, typed word for word, with a folder in place of the bucket."""

import os
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[str]:
    """Return the lines of the first example, without their prompts."""
    text = README.read_text("utf-8").split("## What it does", 1)[1].split("The same words in Python", 1)[0]
    return [line.strip().removeprefix("$ ") for line in text.splitlines() if line.startswith("    $ ")]


def test_the_first_example_of_the_readme_works_as_it_stands(tmp_path):
    """Every command in order, in one shell, each with exit code 0; the files are there at the end."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(os.urandom(50_000))
    lines = [line.replace("s3://ml-data/repo", f"{tmp_path}/repo") for line in commands()]
    assert len(lines) > 8
    edit = "echo more >> photos/a.jpg"  # the July photos differ from the June photos
    lines.insert(next(number for number, line in enumerate(lines) if "dataver sync" in line), edit)
    script = "set -e\ndataver() { " + f"'{sys.executable}' -m dataver_cli" + ' "$@"; }\n' + "\n".join(lines)
    environment = {
        **os.environ,
        "DATAVER_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    fetched = (tmp_path / "work" / "train" / "a.jpg").read_bytes()
    assert fetched == (tmp_path / "photos" / "a.jpg").read_bytes()
