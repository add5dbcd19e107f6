"""What dataver exports, read by DVC, datasets, huggingface_hub and webdataset."""

import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import webdataset

import dataver
from dataver.exporters import export_version


@pytest.fixture
def version(repo: dataver.Repository, tmp_path: Path) -> dataver.Version:
    """A version with tables, and samples of two files."""
    source = tmp_path / "source"
    for split, rows in (("train", 5), ("test", 2)):
        (source / "data").mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{at},{split} {at}\n" for at in range(rows))
        (source / "data" / f"{split}.csv").write_text(f"id,text\n{lines}")
    for at in range(20):
        (source / "samples").mkdir(exist_ok=True)
        (source / "samples" / f"{at:04}.txt").write_text(f"text {at}")
        (source / "samples" / f"{at:04}.cls").write_text(f"{at % 3}")
    repo.sync(source, "cats", workspace=tmp_path)
    return repo.version("cats")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_dvc_pulls_from_the_folder(
    version: dataver.Version, repo: dataver.Repository, tmp_path: Path
) -> None:
    """A DVC repository gets the bytes of two versions from one remote, and finds nothing changed."""
    remote, work = tmp_path / "remote", tmp_path / "work"
    work.mkdir()

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=work, capture_output=True, text=True, check=True
        )
        return done.stdout

    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    run("init", "-q")
    run("remote", "add", "-d", "dataver", str(remote))
    source = tmp_path / "source"
    (source / "data" / "more.csv").write_text("id\n1\n")
    repo.sync(source, "cats", workspace=tmp_path)
    for each in (version, repo.version("cats")):
        [made] = export_version(each, remote, "dvc", overwrite=True).made
        (work / "cats.dvc").write_bytes(Path(made).read_bytes())
        run("pull", "-q")
        assert files_of(work / "cats") == {one.path: each.read(one.path) for one in each.entries()}
        assert "up to date" in run("status")
        assert "in sync" in run("status", "--cloud")


def test_datasets_loads_the_folder_for_the_hub(version: dataver.Version, tmp_path: Path) -> None:
    """With the splits of its card, or those that it finds by name."""
    splits = [{"split": name, "path": f"data/{name}.csv"} for name in ("train", "test")]
    configs = [{"config_name": "default", "data_files": splits}]
    version.describe("Cats.", license="MIT", set={"configs": configs, "tags": ["cats"]})
    export_version(version, tmp_path / "out", "hf")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(each) for name, each in loaded.items()} == {"train": 5, "test": 2}
    assert loaded["train"][3] == {"id": 3, "text": "train 3"}


def test_huggingface_hub_reads_the_card(version: dataver.Version, tmp_path: Path) -> None:
    """The card is valid."""
    from huggingface_hub import DatasetCard

    version.describe("Cats.", license="CC-BY-4.0", set={"tags": ["cats"], "task_categories": ["other"]})
    export_version(version, tmp_path / "out", "hf")
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.to_dict() == {
        "license": "cc-by-4.0",
        "pretty_name": "cats",
        "tags": ["cats"],
        "task_categories": ["other"],
    }
    assert "Cats." in card.text


def test_webdataset_reads_the_shards(version: dataver.Version, tmp_path: Path) -> None:
    """Each sample has its two files; the shards have few samples each."""
    report = export_version(version, tmp_path / "out", "webdataset", shard_size=60)
    assert len(report.made) > 2
    found = {
        sample["__key__"]: (sample["txt"], sample["cls"])
        for sample in webdataset.WebDataset(report.made, shardshuffle=False)
        if "txt" in sample
    }
    assert found == {f"samples/{at:04}": (b"text %d" % at, b"%d" % (at % 3)) for at in range(20)}
