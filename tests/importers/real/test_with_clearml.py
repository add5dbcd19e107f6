"""Datasets made by ClearML's own package, brought over from its server, its bucket and an offline session.

The package talks to `clearml_api` in place of ClearML's server.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from compat.test_clearml_data import OPTIONS

import dataver
from dataver.compat import clearml as ours
from dataver.importers import import_versions
from dataver.importers.clearml import ClearMLSource, FolderReader
from dataver.importers.clearml_server import ServerReader
from importers.real.clearml_api import Api, running

BIG = bytes(range(256)) * 30_000


class Chain(NamedTuple):
    """Five versions on the server, with the files of each by id, and the bucket they are in."""

    bucket: Path
    contents: dict[str, dict[str, bytes]]
    ids: list[str]


@pytest.fixture(scope="module")
def clearml(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """ClearML's package, connected to an empty server."""
    home = tmp_path_factory.mktemp("clearml")
    (home / "bucket").mkdir()
    with pytest.MonkeyPatch.context() as patch, running(Api()) as url:
        patch.setenv("HOME", str(home))
        for name, value in {
            "CONFIG_FILE": home / "none.conf",
            "CACHE_DIR": home / "cache",
            "API_HOST": url,
            "WEB_HOST": url,
            "FILES_HOST": home / "files",
            "API_ACCESS_KEY": "key",
            "API_SECRET_KEY": "secret",
            "DEFAULT_OUTPUT_URI": home / "bucket",
        }.items():
            patch.setenv(f"CLEARML_{name}", str(value))
        import clearml

        yield clearml


@pytest.fixture(scope="module")
def chain(clearml: Any, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Cats 1.0.0 → 1.0.1 (a rename) → 1.0.2 (merged with Dogs) → 1.1.0 (an external file, two zip files)."""
    folder, outside = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("outside")
    contents: dict[str, dict[str, bytes]] = {}
    ids: list[str] = []

    def published(dataset: Any, files: dict[str, bytes]) -> Any:
        dataset.upload(show_progress=False)
        dataset.finalize()
        contents[dataset.id] = dict(files)
        ids.append(dataset.id)
        return dataset

    def synced(dataset: Any, files: dict[str, bytes]) -> None:
        for path in list(folder.rglob("*")):
            if path.is_file():
                path.unlink()
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        dataset.sync_folder(folder)

    place = {"dataset_project": "Vision & co", "dataset_name": "Cats"}
    files = {"a.txt": b"a", "sub/ä b.bin": BIG, "sub/twin.bin": BIG, "gone.txt": b"gone"}
    cats = clearml.Dataset.create(**place, dataset_tags=["raw", "small set"], description="First cats")
    synced(cats, files)
    published(cats, files)
    files = {"renamed.txt": b"a", "sub/ä b.bin": BIG, "sub/twin.bin": BIG, "new.txt": b"new"}
    cats = clearml.Dataset.create(**place, parent_datasets=[cats.id], dataset_tags=["raw"])
    synced(cats, files)
    published(cats, files)
    dogs = clearml.Dataset.create(dataset_project="Vision & co", dataset_name="Dogs")
    synced(dogs, {"dog.txt": b"dog", "new.txt": b"other"})
    published(dogs, {"dog.txt": b"dog", "new.txt": b"other"})
    files |= {"dog.txt": b"dog", "new.txt": b"other"}
    cats = published(clearml.Dataset.create(**place, parent_datasets=[cats.id, dogs.id]), files)
    cats = clearml.Dataset.create(**place, parent_datasets=[cats.id], dataset_version="1.1.0")
    (outside / "far.csv").write_bytes(b"x,y\n1,2\n")
    cats.add_external_files(f"file://{outside}/", dataset_path="ext")
    (folder / "one.txt").write_bytes(b"one")
    cats.add_files(folder / "one.txt", dataset_path="more")
    cats.upload(show_progress=False)
    (folder / "two.txt").write_bytes(b"two")
    cats.add_files(folder / "two.txt", dataset_path="more")
    published(cats, files | {"ext/far.csv": b"x,y\n1,2\n", "more/one.txt": b"one", "more/two.txt": b"two"})
    cats.publish()
    return Chain(Path(os.environ["CLEARML_DEFAULT_OUTPUT_URI"]), contents, ids)


def brought(repo: dataver.Repository, key: str) -> dict[str, bytes]:
    """Return the files of an imported version, by the id of its task."""
    dataset = ours.Dataset.get(dataset_id=key)
    folder = Path(dataset.get_local_copy())
    return {path: (folder / path).read_bytes() for path in dataset.list_files()}


def test_a_server_is_brought_over_byte_for_byte(repo: dataver.Repository, chain: Chain) -> None:
    """Every version has its files, also those that ClearML itself cannot fetch after a rename."""
    report = import_versions(repo, ClearMLSource(ServerReader()), in_place=True)
    assert not report.problems
    assert len(report.versions) == 5
    for key in chain.ids:
        assert brought(repo, key) == chain.contents[key]
    assert repo.verify().findings == []


def test_a_server_tells_labels_tags_and_descriptions(repo: dataver.Repository, chain: Chain) -> None:
    """What ClearML's server knows of a version is in the version, and ids of tasks still name datasets."""
    import_versions(repo, ClearMLSource(ServerReader()), in_place=True)
    assert [each.label for each in repo.versions("Vision-co/Cats")] == ["1.0.0", "1.0.1", "1.0.2", "1.1.0"]
    first = ours.Dataset.get(dataset_id=chain.ids[0])
    assert (first.project, first.name, first.version) == ("Vision & co", "Cats", "1.0.0")
    assert {"raw", "small set"} <= set(first.tags)
    assert repo.version("Vision-co/Cats@1.0.0").message == "First cats"
    assert repo.tagged("Vision-co/Cats") == {"raw": "1.0.1", "small-set": "1.0.0", "published": "1.1.0"}
    merged = ours.Dataset.get(dataset_id=chain.ids[3])
    assert merged.get_dependency_graph()[merged.id] == [chain.ids[1], chain.ids[2]]
    assert ours.Dataset.get(None, "Vision & co", "Cats", only_published=True).id == chain.ids[4]


def test_a_bucket_alone_is_enough(repo: dataver.Repository, chain: Chain) -> None:
    """Without the server every version has its files, and a second import brings nothing."""
    source = ClearMLSource(FolderReader(str(chain.bucket)))
    report = import_versions(repo, source, in_place=True)
    assert not report.problems
    assert {key: brought(repo, key) for key in chain.ids} == chain.contents
    assert [each.label for each in repo.versions("Vision-co/Cats")] == ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]
    again = import_versions(repo, ClearMLSource(FolderReader(str(chain.bucket))), in_place=True)
    assert (len(again.versions), again.known, again.files) == (0, 5, 0)


def test_external_files_need_permission(repo: dataver.Repository, chain: Chain) -> None:
    """Without in_place, external files are reported and left out, and nothing else is."""
    report = import_versions(repo, ClearMLSource(FolderReader(str(chain.bucket)), name="Cats"))
    assert [name for name, _ in report.problems] == ["ext/far.csv in Vision-co/Cats@1.0.3"]
    assert len(report.versions) == 4


def test_missing_and_damaged_zips_lose_nothing_else(
    repo: dataver.Repository, chain: Chain, tmp_path: Path
) -> None:
    """A deleted zip file, a damaged one and a cut state are named, and all other files are brought."""
    copy = shutil.copytree(chain.bucket, tmp_path / "bucket")
    state = next(copy.glob(f"**/*{chain.ids[4]}/artifacts/state/state.json"))
    state.write_bytes(state.read_bytes()[:-30])
    shutil.rmtree(next(copy.glob(f"**/*{chain.ids[2]}/artifacts/data")))
    damaged = next(copy.glob(f"**/*{chain.ids[1]}/artifacts/data/*.zip"))
    damaged.write_bytes(damaged.read_bytes()[:-10])
    report = import_versions(repo, ClearMLSource(FolderReader(str(copy))))
    assert len(report.versions) == 4
    reasons = dict(report.problems)
    assert "is damaged" in reasons.pop(f"Vision & co/Cats ({chain.ids[4]})")
    assert chain.ids[2] in reasons["dog.txt in Vision-co/Dogs@1.0.0"]
    assert brought(repo, chain.ids[0]) == chain.contents[chain.ids[0]]
    assert brought(repo, chain.ids[1]).keys() == chain.contents[chain.ids[1]].keys() - {"new.txt"}


SESSION = """
import sys
from clearml import Dataset
Dataset.set_offline(True)
place = {"dataset_name": "Off", "dataset_project": "P"}
dataset = Dataset.create(**place, dataset_version="3.1.0", description="hello")
dataset._created_task = False  # ClearML 2.1.12 fails to note calls in a script outside of git
dataset.add_files(sys.argv[1])
dataset.upload()
print("folder:", dataset.get_offline_mode_folder())
dataset._task.close()
"""


def in_session(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program with ClearML's package offline, and again if it hangs, as what ClearML forks may."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CLEARML")}
    place = {"CLEARML_CONFIG_FILE": str(folder / "none"), "CLEARML_CACHE_DIR": str(folder / "cm")}
    command = [sys.executable, "-c", program, *arguments]
    how: dict[str, Any] = {"env": clean | place, "cwd": folder, "capture_output": True, "text": True}
    for _ in range(2):
        with suppress(subprocess.TimeoutExpired):
            return subprocess.run(command, timeout=150, **how)  # ClearML waits 25 s by itself
    return subprocess.run(command, timeout=150, **how)


def test_an_offline_session_is_brought_over(repo: dataver.Repository, tmp_path: Path) -> None:
    """A session is brought from its folder and from its zip file, with the files where they were."""
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/a.txt").write_bytes(b"a")
    (tmp_path / "in/sub/b.bin").write_bytes(BIG)
    done = in_session(tmp_path, SESSION, str(tmp_path / "in"))
    folder = done.stdout.partition("folder: ")[2].partition("\n")[0]
    assert folder, done.stderr
    report = import_versions(repo, ClearMLSource(FolderReader(folder)))
    assert not report.problems
    assert (report.versions[0].ref, report.versions[0].message) == ("P/Off@3.1.0", "hello")
    key = ours.Dataset.get(None, "P", "Off").id
    assert key.startswith("offline-")
    assert brought(repo, key) == {"a.txt": b"a", "sub/b.bin": BIG}
    assert import_versions(repo, ClearMLSource(FolderReader(f"{folder}.zip"))).known == 1
    assert ours.Dataset.import_offline_session(folder) == key


def test_the_drop_in_has_the_signatures_of_clearml(clearml: Any) -> None:
    """Every public method of ClearML's `Dataset` exists, with the same arguments and defaults."""
    theirs = {name: each for name, each in vars(clearml.Dataset).items() if not name.startswith("_")}
    missing = theirs.keys() - set(dir(ours.Dataset))
    assert missing == set()
    for name, each in theirs.items():
        own = getattr(ours.Dataset, name)
        if isinstance(each, property):
            assert isinstance(own, property), name
            assert (own.fset is None) == (each.fset is None), name
            continue
        real = inspect.signature(getattr(clearml.Dataset, name)).parameters.values()
        mine = inspect.signature(own).parameters.values()
        assert [(p.name, p.default, p.kind) for p in mine] == [(p.name, p.default, p.kind) for p in real], (
            name
        )


def calls(dataset_class: Any, folder: Path, shift: str) -> list[Any]:
    """Make the same calls as scripts do; return what can be compared between ClearML and dataver."""
    place = {"dataset_project": f"Same {shift}", "dataset_name": "Calls"}
    seen: list[Any] = []

    def refused(*args: Any, **values: Any) -> None:
        call, *rest = args
        with pytest.raises(Exception, match=r".") as error:  # ClearML raises its base class, too
            call(*rest, **values)
        assert dataset_class is not ours.Dataset or isinstance(error.value, ValueError)

    def fresh() -> Path:
        # ClearML loses all but one of the paths at which a local file is added
        return Path(shutil.copytree(folder, folder.parent / f"copy {len(list(folder.parent.iterdir()))}"))

    first = dataset_class.create(**place, dataset_tags=["t"])
    seen += [first.version, first.project, first.name, first.tags, first.is_dirty(), first.is_final()]
    seen += [first.add_files(folder), first.list_files(), first.is_dirty()]
    assert dataset_class is not ours.Dataset or first.add_files(folder) == 0  # ClearML counts them again
    seen += [first.add_files(fresh() / "a.txt", dataset_path="x/y")]
    seen += [first.add_files(fresh(), wildcard=["*.txt", "*.none"], dataset_path="w")]
    seen += [first.add_files(fresh(), recursive=False, dataset_path="flat")]
    other = fresh()
    seen += [first.add_files(other / "sub", local_base_folder=str(other), dataset_path="based")]
    seen += [first.list_files("*.jpg"), first.list_files("x/*"), first.list_files("*.txt", recursive=False)]
    refused(first.add_files, folder / "missing")
    refused(first.finalize)
    seen += [first.finalize(raise_on_error=False), first.upload(), first.is_dirty(), first.upload()]
    refused(first.get_local_copy)
    refused(dataset_class.create, **place, parent_datasets=[first.id])
    seen += [first.finalize(), first.is_final(), first.list_added_files(), first.verify_dataset_hash()]
    second = dataset_class.create(**place, parent_datasets=[first.id])
    (folder / "a.txt").write_bytes(b"changed")
    (folder / "sub/new.txt").write_bytes(b"new")
    seen += [
        second.version,
        second.remove_files("flat/*"),
        second.remove_files("/w/*.txt"),
        second.sync_folder(fresh(), "x"),
    ]
    seen += [second.sync_folder(folder), second.list_files(), second.list_added_files()]
    seen += [second.list_modified_files(), second.list_removed_files(), second.changed_files]
    second.finalize(auto_upload=True)
    local = Path(second.get_local_copy())
    seen += [sorted((str(p.relative_to(local)), p.read_bytes()) for p in local.rglob("*") if p.is_file())]
    found = dataset_class.get(**place)
    seen += [found.id == second.id, found.version, found.list_files(dataset_id=first.id)]
    seen += [[[first.id, second.id].index(each) for each in found.get_dependency_graph()[found.id]]]
    seen += [dataset_class.get(**place, dataset_version="1.0.0").id == first.id]
    seen += [dataset_class.get(**place, dataset_tags=["t"]).id == first.id]
    refused(dataset_class.get)
    refused(dataset_class.get, dataset_id=first.id, dataset_name="Calls")
    refused(dataset_class.get, dataset_project="Same", dataset_name="Missing")
    refused(dataset_class.get, dataset_id=first.id, unknown=1)
    refused(dataset_class.create, dataset_name="", dataset_project="P")
    copy = folder.parent / f"copy {shift}"
    seen += [
        Path(found.get_mutable_local_copy(copy)) == copy,
        found.get_mutable_local_copy(copy, raise_on_error=False),
    ]
    refused(found.get_mutable_local_copy, copy)
    (copy / "sub/b.jpg").unlink()
    (copy / "sub/b.jpg").write_bytes(b"B")
    seen += [found.verify_dataset_hash(str(copy)), found.verify_dataset_hash(str(copy), skip_hash=True)]
    child = dataset_class.get(**place, writable_copy=True)
    seen += [child.version, child.list_files() == found.list_files(), child.is_final()]
    child.set_metadata({"x": [1, 2]})
    child.set_metadata(pd.DataFrame({"n": [1, 2], "t": ["a", "b"]}), "frame")
    child.add_tags(["more"])
    seen += [sorted(child.tags), child.finalize(), child.publish()]
    child = dataset_class.get(dataset_id=child.id)
    seen += [child.get_metadata(), child.get_metadata("frame").to_dict("list"), child.get_metadata("none")]
    listed = dataset_class.list_datasets(dataset_project=f"Same {shift}", partial_name="Ca.l")
    seen += [
        sorted(
            (
                each["name"],
                each["project"],
                each["version"],
                str(getattr(each["status"], "value", each["status"])),
            )
            for each in listed
        )
    ]
    squashed = dataset_class.squash("Squashed", [first.id, second.id])
    seen += [squashed.is_final(), squashed.get_dependency_graph()[squashed.id], squashed.project]
    dataset_class.delete(dataset_id=squashed.id)
    dataset_class.delete(dataset_project="none", dataset_name="none")
    refused(dataset_class.get, dataset_project=f"Same {shift}", dataset_name="Squashed")
    return seen


def test_the_drop_in_behaves_as_clearml(
    repo: dataver.Repository, clearml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls have the same results with ClearML's package and with the drop-in."""
    results = []
    for dataset_class, name in ((clearml.Dataset, "theirs"), (ours.Dataset, "ours")):
        folder = tmp_path / name / "in"
        (folder / "sub").mkdir(parents=True)
        for path, data in {"a.txt": b"a", "sub/b.jpg": b"b", "sub/c.txt": b"c"}.items():
            (folder / path).write_bytes(data)
        monkeypatch.chdir(tmp_path / name)
        results.append(calls(dataset_class, folder, name))
    theirs, own = results
    assert str(theirs).replace("theirs", "ours") == str(own)


def test_the_commands_have_the_options_of_clearml(clearml: Any) -> None:
    """The table of options, which the drop-in is compared with, is that of `clearml-data`."""
    for name, options in OPTIONS.items():
        line = [sys.executable, "-m", "clearml.cli.data", name, "--help"]
        shown = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        theirs = set(re.findall(r"^  (--[a-z-]+)", shown.partition("\noptions:")[2], re.MULTILINE))
        assert theirs == set(options.split()), name


TRACKED = """
from clearml import Task
from dataver.compat.clearml import Dataset
Task.set_offline(True)
task = Task.init("P", "train", auto_connect_frameworks=False, auto_resource_monitoring=False)
made = Dataset.create("cats")  # in the task's project
made.finalize()
Dataset.get(dataset_project="P", dataset_name="cats", alias="raw")
print("found:", task.get_parameters()["Datasets/raw"] == made.id, made.project)
task.close()
"""


def test_an_alias_is_a_parameter_of_the_task(repo: dataver.Repository, tmp_path: Path) -> None:
    """With ClearML's own task, the project is its, and an alias gets the id as in ClearML."""
    done = in_session(tmp_path, TRACKED)
    assert "found: True P" in done.stdout, done.stderr
