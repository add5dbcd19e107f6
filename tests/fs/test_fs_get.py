"""fsspec's own tests of `get`, on versions: its scenarios are written to a folder and published."""

import posixpath
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from dataver.fs import DataverFileSystem

from .conftest import Publish


class TestGet(AbstractFixtures, AbstractGetTests):
    """Everything that the suite asks of `get`."""

    @pytest.fixture
    def fs(self, fs: DataverFileSystem) -> DataverFileSystem:
        """The file system under test."""
        return fs

    @pytest.fixture
    def fs_path(self) -> str:
        """Where the tests' files are, once they are published."""
        return "some/data@1.0.0"

    @pytest.fixture
    def fs_join(self) -> Any:
        """How its paths are put together."""
        return posixpath.join

    @pytest.fixture
    def written(self, machine: Path) -> Path:
        """A folder for a scenario, to be published."""
        folder = machine / "scenario"
        folder.mkdir()
        return folder

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, written: Path, publish: Publish) -> str:
        """Files and folders."""
        self._bulk_operations_scenario_0(LocalFileSystem(auto_mkdir=True), posixpath.join, str(written))
        return f"{publish(written)}/source"

    @pytest.fixture
    def fs_glob_edge_cases_files(self, written: Path, publish: Publish) -> str:
        """Names for globs."""
        self._glob_edge_cases_files(LocalFileSystem(auto_mkdir=True), posixpath.join, str(written))
        return f"{publish(written)}/source"

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, written: Path, publish: Publish) -> str:
        """A folder and a file whose names begin alike."""
        self._dir_and_file_with_same_name_prefix(
            LocalFileSystem(auto_mkdir=True), posixpath.join, str(written)
        )
        return f"{publish(written)}/source"

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, written: Path, publish: Publish) -> str:
        """Files in no order."""
        self._10_files_with_hashed_names(LocalFileSystem(auto_mkdir=True), posixpath.join, str(written))
        return f"{publish(written)}/source"

    def test_get_directory_recursive(  # the suite's own writes through the file system
        self, fs: DataverFileSystem, written: Path, publish: Publish, local_target: str
    ) -> None:
        """A folder gets to where no folder is, and into one that is there."""
        (written / "src").mkdir()
        (written / "src" / "file").touch()
        source = f"{publish(written)}/src"
        target = Path(local_target)
        fs.get(source, local_target, recursive=True)
        assert [path.relative_to(target).as_posix() for path in target.rglob("*")] == ["file"]
        fs.get(source, local_target, recursive=True)
        assert (target / "src" / "file").is_file()
        other = Path(f"{local_target}-slash")
        for _ in range(2):
            fs.get(f"{source}/", str(other), recursive=True)
            assert [path.relative_to(other).as_posix() for path in other.rglob("*")] == ["file"]
