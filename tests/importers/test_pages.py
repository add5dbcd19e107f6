"""The pages for users of DVC and git-lfs run as they are written."""

from pathlib import Path

import pytest

from first_hour.playing import Play


@pytest.mark.parametrize("page", ["dvc", "git-lfs"])
def test_the_page_runs_as_it_is_written(play: Play, page: str) -> None:
    """Every command of docs/coming-from/PAGE.md, after its history was written by hand."""
    home = play(f"docs/coming-from/{page}.md")
    assert Path(home, "cats", ".git").is_dir()
