"""Drives ClearML's own hashing and zipping, in its own environment; a floor of what ClearML Data takes.

Offline, ClearML neither uploads nor gets, so this does what `Dataset.upload` and `get_local_copy` do around
them and no more: `add FOLDER STORE LABEL [PARENT]` syncs a folder onto the parent's entries and copies the
zips into the store, `restore STORE LABEL DEST` unzips the version and those before it and removes what it
lacks.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from clearml import Dataset, Task
from clearml.datasets.dataset import FileEntry
from clearml.utilities.parallel import ParallelZipper


def add(folder: str, store: str, label: str, parent: str | None = None) -> None:
    """Hash a folder, zip what is new against the parent, put the zips into the store."""
    Task.set_offline(offline_mode=True)
    dataset = Dataset.create(dataset_project="bench", dataset_name="x")
    dataset._created_task = False  # else it notes each call in a script record that offline may not be there
    if parent:
        before = json.loads(Path(store, f"{parent}.json").read_text())
        dataset._dataset_file_entries = {
            entry["relative_path"]: FileEntry(**entry) for entry in before["entries"]
        }
    dataset.sync_folder(folder)
    zips = _zip(dataset, Path(store), label)
    entries = [entry.as_dict() for entry in dataset._dataset_file_entries.values()]
    for entry in entries:
        entry.pop("local_path", None)
    chain = [*before["zips"], *zips] if parent else zips
    Path(store, f"{label}.json").write_text(json.dumps({"zips": chain, "entries": entries}))
    os._exit(0)  # the offline task would zip its own log at exit; that is no part of a dataset


def _zip(dataset: Dataset, store: Path, label: str) -> list[str]:
    """Zip the files that have a local path, as `Dataset.upload` does, and return the zips' names."""
    names = {
        entry.local_path: entry.relative_path
        for entry in dataset._dataset_file_entries.values()
        if entry.local_path
    }
    zips = []
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        zipper = ParallelZipper(
            int(dataset._dataset_chunk_size_mb),
            workers,
            allow_zip_64=True,
            compression=ZIP_DEFLATED,
            zip_prefix=f"dataset.{dataset.id}.",
            zip_suffix=".zip",
            verbose=False,
            task=dataset._task,
            pool=pool,
        )
        for number, part in enumerate(zipper.zip_iter(list(names), arcnames=names)):
            zips.append(f"{label}.{number}.zip")
            shutil.copyfile(part.zip_path, store / zips[-1])
            Path(part.zip_path).unlink()
    return zips


def restore(store: str, label: str, dest: str) -> None:
    """Unzip everything a version builds on, oldest first, and remove what is not in it."""
    version = json.loads(Path(store, f"{label}.json").read_text())
    for name in version["zips"]:
        with ZipFile(Path(store, name)) as part:
            part.extractall(dest)
    wanted = {entry["relative_path"] for entry in version["entries"]}
    for file in Path(dest).rglob("*"):
        if file.is_file() and file.relative_to(dest).as_posix() not in wanted:
            file.unlink()


if __name__ == "__main__":
    deed, *words = sys.argv[1:]
    deeds: dict[str, Callable[..., None]] = {"add": add, "restore": restore}
    deeds[deed](*words)
