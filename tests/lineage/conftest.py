"""What the tests of lineage share."""

import pytest

from .lab import Lab


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A repository with two versions of `cats`, and processes with lineage on."""
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)
