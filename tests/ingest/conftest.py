"""A repository in any store, as `init` would make one, without the questions to the store."""

import secrets
from datetime import UTC, datetime

import pytest

import dataver
from dataver.formats.config import RepositoryConfig
from dataver.repository import RepositoryCore as Core


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))


def configured(**values):
    """Return a configuration; packs are closed at 1 MiB where `values` do not say otherwise."""
    return RepositoryConfig(
        id=secrets.token_hex(16),
        created=datetime.now(UTC),
        write_id=secrets.token_hex(16),
        create_if_absent=True,
        **{"pack_size": 1 << 20} | values,
    )


def repository(store, **values):
    """Return a repository so configured in a store."""
    return dataver.Repository(Core(store, configured(**values)), "memory://test")
