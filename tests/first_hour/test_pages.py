"""The documentation runs as it is written, from an empty folder."""

from pathlib import Path

import pytest

from .page import match
from .playing import Play


@pytest.mark.servers
def test_readme(play: Play, bucket: dict[str, str]) -> None:
    """Every command of README.md, word for word, then with a folder in place of the bucket."""
    assert_fetched(play("README.md", bucket))
    assert_fetched(play("README.md", change={"s3://ml-data/repo": "/home/me/repo"}))


@pytest.mark.parametrize(
    ("shown", "printed", "right"),
    [
        ("2 added; 41 B in", "2 added; 42 B in", True),
        ("3 added", "2 added", False),
        ("1.2 MB stored, 0.30 s", "1.3 MB stored, 12.4 s", True),
        ("1.2 MB stored", "1.4 MB stored", False),
        ("run 5987b64f1882  a", "run b4d3c774af6e  a", True),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nb\nc", False),
        ("a", "a\nb", False),
    ],
)
def test_outputs_are_compared(shown: str, printed: str, right: bool) -> None:
    """Ids, times and a tenth of a size may differ; nothing else."""
    assert (match(shown.split("\n"), printed.split("\n")) is not None) == right


IN_A_BUCKET = {
    "init repository": "init s3://ml-data/repo",
    "/home/me/repository": "s3://ml-data/repo",
    "repository releases": "releases",  # what `du` measures
    "5.8M\trepository\n": "",
    "5.6 MB stored;": "5.6 MB stored, 5.5 MB sent meanwhile;",
    "129.3 kB stored;": "129.3 kB stored, 136 kB sent meanwhile;",
    "6.4 MB moved": "5.5 MB moved",
}


@pytest.mark.servers
@pytest.mark.parametrize("change", [{}, IN_A_BUCKET], ids=["folder", "bucket"])
def test_tutorial(play: Play, bucket: dict[str, str], change: dict[str, str]) -> None:
    """Every command of the tutorial prints what the page shows, also with a bucket in place of the folder."""
    play("docs/tutorial.md", bucket, change)


def test_chapter_of_tables(play: Play) -> None:
    """Every command of the chapter prints what the page shows."""
    play("docs/tutorial-tables.md")


def assert_fetched(home: Path) -> None:
    """Compare the files that the README's commands fetched with their sources."""
    for name in ("june.txt", "july.txt"):
        assert (home / "work/train" / name).read_bytes() == (home / "photos" / name).read_bytes()


@pytest.mark.servers
@pytest.mark.parametrize(
    "page", ["finding", "importing", "moving", "operations", "profiles", "stores", "tables", "ui"]
)
def test_pages_of_reference(play: Play, bucket: dict[str, str], page: str) -> None:
    """The commands of the page run, and print what it shows."""
    play(f"docs/{page}.md", bucket)
