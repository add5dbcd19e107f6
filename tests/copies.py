"""Folders that many tests begin with, made once and copied."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["Copy", "copy_of"]

Copy = Callable[[Callable[[Path], None], Path], None]


@pytest.fixture(scope="session")
def copy_of(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Fill a folder with what a function makes; the function is called once, and the result is copied.

    The function may use a cache and a state in the folder; it makes no cached versions, since these know
    their files by inode.
    """
    made: dict[Callable[[Path], None], Path] = {}

    def copied(make: Callable[[Path], None], folder: Path) -> None:
        if make not in made:
            first = tmp_path_factory.mktemp("first")
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("DATAVER_CACHE", str(first / "cache"))
                patched.setenv("DATAVER_STATE", str(first / "state"))
                make(first)
            made[make] = first
        shutil.copytree(made[make], folder, symlinks=True, dirs_exist_ok=True)

    return copied
