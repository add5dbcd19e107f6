"""Fixtures that run pages: an empty home folder, and the buckets that the pages name."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from servers import Server

from .page import blocks
from .session import Session

__all__ = ["Play", "bucket", "play", "programs"]

ROOT = Path(__file__).parents[2]
BUCKETS = ("ml-data", "backup", "team", "telescope")
Play = Callable[..., Path]


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with `dataver` and `python`: FIRST_HOUR_PROGRAMS, else that of the tests themselves."""
    return Path(os.environ.get("FIRST_HOUR_PROGRAMS") or Path(sys.executable).parent)


@pytest.fixture
def bucket(seaweedfs_server: Server) -> Iterator[Mapping[str, str]]:
    """Variables that reach a server with the buckets of the documentation, which are empty."""
    import s3fs

    buckets = s3fs.S3FileSystem(**seaweedfs_server.options, skip_instance_cache=True)
    for name in BUCKETS:
        buckets.mkdir(name)
    yield seaweedfs_server.environment
    for name in BUCKETS:
        buckets.rm(name, recursive=True)


@pytest.fixture
def play(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Play:
    """Runs all blocks of a page in an empty home folder, which is returned."""

    def play(page: str, environment: Mapping[str, str] = {}, change: Mapping[str, str] = {}) -> Path:
        home = tmp_path_factory.mktemp("user") / "me"
        home.mkdir()
        with Session(home, programs, environment) as session:
            for block in blocks(ROOT / page):
                session.play(block, change)
            session.end()
        return home

    return play
