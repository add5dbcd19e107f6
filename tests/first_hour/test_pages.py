"""The documentation runs as it is written, from an empty folder."""

from pathlib import Path

import pytest

from .playing import Play


@pytest.mark.servers
def test_readme(play: Play, bucket: dict[str, str]) -> None:
    """Every command of README.md, word for word, then with a folder in place of the bucket."""
    assert_fetched(play("README.md", bucket))
    assert_fetched(play("README.md", change={"s3://ml-data/repo": "/home/me/repo"}))


def test_tutorial(play: Play) -> None:
    """Every command of the tutorial prints what the page shows."""
    play("docs/tutorial.md")


def assert_fetched(home: Path) -> None:
    """Compare the files that the README's commands fetched with their sources."""
    for name in ("june.txt", "july.txt"):
        assert (home / "work/train" / name).read_bytes() == (home / "photos" / name).read_bytes()


@pytest.mark.servers
@pytest.mark.parametrize("page", ["moving", "operations", "stores"])
def test_pages_of_reference(play: Play, bucket: dict[str, str], page: str) -> None:
    """The commands of the page run, and print what it shows."""
    play(f"docs/{page}.md", bucket)
