"""The README's first example, typed word for word, with a folder in place of the bucket."""

import os
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[str]:
    """Return the lines of the first example, without their prompts."""
    text = README.read_text("utf-8").split("## What it does", 1)[1].split("The same in Python", 1)[0]
    return [line.strip().removeprefix("$ ") for line in text.splitlines() if line.startswith("    $ ")]


def test_the_first_example_of_the_readme_works_as_it_stands(tmp_path):
    """In an empty folder, every command exits with 0; the files are there at the end."""
    lines = [line.replace("s3://ml-data/repo", f"{tmp_path}/repo") for line in commands()]
    assert len(lines) > 8
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
    for name in ("june.txt", "july.txt"):
        fetched = (tmp_path / "work" / "train" / name).read_bytes()
        assert fetched == (tmp_path / "photos" / name).read_bytes()
