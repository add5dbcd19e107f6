"""Hugging Face `datasets`, which reads a file of `dataver://` once and then its own copy."""

from pathlib import Path

import pytest

import dataver

from .conftest import Script

CODE = """
import os
import dataver
from datasets import load_dataset
url = f"dataver://vision/cats@{os.environ['VERSION']}/train/*.txt"
with dataver.run() as run:
    if os.environ["VERSION"] == "used":
        dataver.use("vision/cats@1.1.0", include="train/**")
    else:
        result["rows"] = len(load_dataset("text", data_files=url, split="train"))
result["run"] = run.key
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own cache, and no requests to the hub."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")  # which `dataver://` counts as, too


def test_what_comes_from_their_cache_was_available(
    repo: dataver.Repository, program: Script, tmp_path: Path
) -> None:
    """The files of the first run are read; those of the second are available, one that is new is read."""
    (tmp_path / "photos" / "labels.txt").write_text("not asked for\n")
    repo.sync(tmp_path / "photos", "vision/cats", workspace=tmp_path / "work")

    def linked(version: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        run = program(CODE, VERSION=version)["run"]
        repo.lineage.sync()  # a query pulls only if the last pull was two seconds ago
        inputs = repo.lineage.run(run).inputs
        return sorted((link.how, link.subset.patterns, link.subset.paths) for link in inputs)

    assert linked("latest") == [("read", ("train/**",), ())]
    assert linked("latest") == [("available", ("train/**",), ())]
    (tmp_path / "photos" / "train" / "5.txt").write_text("a new cat\n")
    repo.sync(tmp_path / "photos", "vision/cats", workspace=tmp_path / "work")
    found = linked("latest")
    assert ("read", (), ("train/5.txt",)) in found
    assert {how for how, *_ in found} == {"available", "read"}
    assert linked("used") == [("declared", ("train/**",), ())]
