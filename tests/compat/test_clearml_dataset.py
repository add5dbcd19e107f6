"""`dataver.compat.clearml.Dataset`: what it does beside the calls that are compared with ClearML itself."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

import dataver
from dataver.compat.clearml import Dataset, set_repository
from servers import Server

PLACE = {"dataset_project": "Vision & co", "dataset_name": "Cats"}


def made(files: dict[str, str], **values: object) -> Dataset:
    """Create and finalize a version with more files."""
    dataset = Dataset.create(**{**PLACE, **values})
    for name, text in files.items():
        path = Path("in") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        dataset.add_files(path, local_base_folder="in")
    dataset.finalize(auto_upload=True)
    return dataset


def test_the_id_of_a_draft_names_the_version_in_later_processes(repo: dataver.Repository) -> None:
    """An id printed before finalize finds the draft, and the version afterwards, in another process."""
    find = "from dataver.compat.clearml import Dataset as D; import sys; print(D.get(sys.argv[1]).is_final())"

    def is_final(key: str) -> str:
        done = subprocess.run([sys.executable, "-c", find, key], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    dataset = Dataset.create(**PLACE)
    assert len(dataset.id) == 32
    assert is_final(dataset.id) == "False"
    dataset.finalize()
    assert is_final(dataset.id) == "True"
    assert not repo.drafts()


def test_names_that_are_equal_in_dataver_are_two(repo: dataver.Repository) -> None:
    """Also those without a Latin letter; a name of dataver finds all."""
    names = ("a & b", "a b", "猫", "狗")
    ids = {name: made({"x": name}, dataset_name=name).id for name in names}
    for name in names:
        assert Dataset.get(dataset_project="Vision & co", dataset_name=name).id == ids[name]
    assert Dataset.get(dataset_project="Vision-co", dataset_name="a-b").id == ids["a b"]
    assert len(repo.datasets()) == 3


def test_what_a_draft_was_told_survives_the_process(repo: dataver.Repository) -> None:
    """Tags, description, version, changes and metadata of a draft are there when it is opened again."""
    dataset = Dataset.create(**PLACE, dataset_tags=["a b"], description="first", dataset_version="2.0.0")
    Path("x").write_text("x")
    dataset.add_files("x")
    dataset.set_metadata({"k": 1})
    again = Dataset.get(dataset.id)
    again.add_tags("c")
    assert again.is_dirty()
    assert again.changed_files == {"files added": 1, "files removed": 0, "files modified": 0}
    again.upload()
    Dataset.get(dataset.id).finalize()
    version = repo.version("Vision-co/Cats@2.0.0")
    assert (version.message, version.tags) == ("first", ["a-b", "c"])
    final = Dataset.get(dataset.id)
    assert (final.tags, final.version, final.get_metadata()) == (["a b", "c"], "2.0.0", {"k": 1})
    assert final.list_files() == ["x"]
    assert [path.name for path in Path(final.get_local_copy()).iterdir()] == ["x"]


def test_versions_of_dataver_are_datasets(repo: dataver.Repository, tmp_path: Path) -> None:
    """A version made without ClearML's names has an id, and is found by it, by name and by `name@label`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    version = repo.sync(tmp_path / "data", "team/vision/dogs").version
    assert version
    found = Dataset.get(dataset_project="team/vision", dataset_name="dogs")
    assert found.id == version.digest[4:36]
    assert Dataset.get(found.id).version == Dataset.get("team/vision/dogs@1.0.0").version == "1.0.0"
    [entry] = found.file_entries
    assert (entry.relative_path, entry.size, entry.parent_dataset_id) == ("a.txt", 1, found.id)


def test_a_child_of_an_old_version_has_exactly_its_files(repo: dataver.Repository) -> None:
    """A draft from an older version is not merged with what was published since."""
    first = made({"a": "1"})
    made({"b": "2"}, parent_datasets=[first])
    side = made({"c": "3"}, parent_datasets=[first])
    assert side.list_files() == ["a", "c"]
    assert side.version == "1.0.2"
    assert repo.version("Vision-co/Cats@latest").label == "1.0.1"
    assert Dataset.get(**PLACE).id == side.id


def test_a_version_without_parents_is_the_latest(repo: dataver.Repository) -> None:
    """A version that starts from nothing follows the others, with just its files."""
    made({"a": "1"})
    fresh = made({"b": "2"})
    assert fresh.list_files() == ["b"]
    assert repo.version("Vision-co/Cats@latest").label == fresh.version == "1.0.1"


def test_drafts_of_the_same_version_get_different_ones(repo: dataver.Repository) -> None:
    """Two drafts that expect the same version both become versions."""
    one, other = Dataset.create(**PLACE), Dataset.create(**PLACE)
    assert one.version == other.version == "1.0.0"
    assert one.finalize() and other.finalize()
    assert (one.version, other.version) == ("1.0.0", "1.0.1")


def test_versions_that_are_not_numbers_are_kept(repo: dataver.Repository) -> None:
    """Any text is a version; the highest number is the default, and a pre-release is below its release."""
    assert made({}, dataset_version="beta 1").version == "beta 1"
    assert made({}, dataset_version="1.10.0rc1").version == "1.10.0rc1"
    high = made({}, dataset_version="1.10.0")
    made({}, dataset_version="1.9.0")
    assert Dataset.get(**PLACE).id == high.id
    assert Dataset.get(**PLACE, dataset_version="beta 1").version == "beta 1"
    with pytest.raises(ValueError, match="never replaced"):
        Dataset.create(**PLACE, dataset_version="1.9.0")


def test_final_datasets_take_tags_and_descriptions_only(repo: dataver.Repository) -> None:
    """After finalize, tags and description change, and files, version and metadata do not."""
    dataset = made({"a": "1"}, dataset_tags=["old"])
    dataset.tags = ["new", "x y"]
    dataset.set_description("better")
    version = repo.version("Vision-co/Cats")
    assert version.tags == ["new", "x-y"]
    assert version.description
    assert version.description.text == "better"
    assert Dataset.get(dataset.id).tags == ["new", "x y"]
    for refused in (
        lambda: dataset.add_files("in"),
        lambda: dataset.sync_folder("in"),
        lambda: dataset.remove_files("a"),
        lambda: dataset.set_metadata({}),
        lambda: setattr(dataset, "version", "3"),
        dataset.finalize,
    ):
        with pytest.raises(ValueError, match="finalized"):
            refused()


def test_external_files_stay_where_they_are(repo: dataver.Repository, tmp_path: Path) -> None:
    """Files of a URL are recorded by folder and name, listed as links, and removed by their URL."""
    (tmp_path / "far/sub").mkdir(parents=True)
    (tmp_path / "far/a.csv").write_text("a")
    (tmp_path / "far/sub/b.txt").write_text("b")
    dataset, url = Dataset.create(**PLACE), f"file://{tmp_path}/far"
    assert dataset.add_external_files([f"{url}/", f"{url}/a.csv"], dataset_path=["all", "one"]) == 3
    with pytest.warns(UserWarning, match="was not added"):
        assert dataset.add_external_files(f"{url}/none") == 0
    links = dataset.link_entries_dict
    assert {path: entry.link for path, entry in links.items()} == {
        "all/a.csv": f"{url}/a.csv",
        "all/sub/b.txt": f"{url}/sub/b.txt",
        "one/a.csv": f"{url}/a.csv",
    }
    assert dataset.remove_files(f"{url}/sub/b.txt") == 1
    dataset.finalize(auto_upload=True)
    assert (Path(dataset.get_local_copy()) / "one/a.csv").read_text() == "a"
    assert dataset.file_entries == []
    other = Dataset.create(**PLACE)
    assert other.add_external_files(url, recursive=False) == 1
    assert other.add_external_files(url, wildcard=["*.txt", "*.csv"]) == 1
    assert other.list_files() == ["a.csv", "sub/b.txt"]


def test_parts_cover_a_dataset_once(repo: dataver.Repository) -> None:
    """The parts of a dataset are disjoint and together are all of it; a list of files is just these."""
    dataset = made({f"{n}.txt": str(n) * n for n in range(9)})
    parts = [Path(dataset.get_local_copy(part=n, num_parts=3)) for n in range(3)]
    names = [path.name for part in parts for path in part.iterdir()]
    assert sorted(names) == dataset.list_files()
    some = Path(dataset.get_local_copy(files=["1.txt", "8.txt"]))
    assert sorted(path.name for path in some.iterdir()) == ["1.txt", "8.txt"]
    assert dataset.get_num_chunks() == 1


def test_squashed_datasets_share_bytes(repo: dataver.Repository) -> None:
    """A squashed dataset has all files, no parents, and stores no byte again."""
    first = made({"a": "1", "b": "1"})
    second = made({"b": "2"}, parent_datasets=[first])
    before = repo.du().needed
    squashed = Dataset.squash("All", dataset_project_name_pairs=[(PLACE["dataset_project"], "Cats")])
    assert squashed.list_files() == second.list_files()
    assert squashed.get_dependency_graph() == {squashed.id: []}
    assert squashed.project == "Vision & co"
    assert repo.verify().findings == []
    assert repo.du().needed == before


def test_deleting_needs_force_where_clearml_does(
    repo: dataver.Repository, caplog: pytest.LogCaptureFixture
) -> None:
    """A version with children, and a whole dataset, are deleted only with force; children stay complete."""
    first = made({"a": "1"})
    child = made({"b": "2"}, parent_datasets=[first])
    Dataset.delete(**PLACE, dataset_version="1.0.0")
    Dataset.delete(**PLACE)
    Dataset.delete(**PLACE, entire_dataset=True)
    assert len(repo.versions("Vision-co/Cats")) == 2
    assert [each.message.partition(":")[0] for each in caplog.records if each.levelname == "WARNING"] == [
        "Failed deleting dataset"
    ] * 3
    Dataset.delete(**PLACE, dataset_version="1.0.0", force=True)
    assert (Path(child.get_local_copy()) / "a").read_text() == "1"
    draft = Dataset.create(**PLACE)
    Dataset.delete(draft.id)
    assert not repo.drafts()
    Dataset.delete(**PLACE, entire_dataset=True, force=True)
    assert not Dataset.list_datasets()


def test_datasets_are_renamed_and_moved(repo: dataver.Repository) -> None:
    """A renamed dataset is found by its new project and name, and its id stays."""
    dataset = made({"a": "1"})
    Dataset.rename("Felines", "Vision & co", "Cats")
    Dataset.move_to_project("animals", "Vision-co", "Felines")
    found = Dataset.get(dataset_project="animals", dataset_name="Felines")
    assert (found.id, found.project, found.name) == (dataset.id, "animals", "Felines")


def test_drafts_are_listed_when_asked_for(repo: dataver.Repository) -> None:
    """list_datasets filters by project, name, tag and id, and shows drafts with only_completed off."""
    cats = made({}, dataset_tags=["x"])
    dogs = made({}, dataset_project="Vision & co/sub", dataset_name="Dogs")
    draft = Dataset.create(**PLACE)
    listed = Dataset.list_datasets
    assert [each["id"] for each in listed("Vision & co")] == [cats.id, dogs.id]
    assert [each["id"] for each in listed("Vision & co", recursive_project_search=False)] == [cats.id]
    assert [each["id"] for each in listed(partial_name="^D")] == [dogs.id]
    assert [each["id"] for each in listed(tags=["x", "y"])] == [cats.id]
    assert [each["id"] for each in listed(tags=["-x"])] == [dogs.id]
    assert [each["status"] for each in listed(ids=[draft.id], only_completed=False)] == ["in_progress"]


def test_a_repository_can_be_chosen(repo: dataver.Repository, tmp_path: Path) -> None:
    """set_repository names another repository, and None goes back to the configured one."""
    dataver.init(tmp_path / "other")
    set_repository(str(tmp_path / "other"))
    try:
        made({"a": "1"})
    finally:
        set_repository(None)
    assert not Dataset.list_datasets()
    assert [each.name for each in dataver.open(tmp_path / "other").datasets()] == ["Vision-co/Cats"]


def test_metadata_are_not_pickled(repo: dataver.Repository) -> None:
    """Objects other than JSON values, arrays and frames are refused."""
    numpy = pytest.importorskip("numpy")
    dataset = Dataset.create(**PLACE)
    with pytest.raises(ValueError, match="cannot be stored"):
        dataset.set_metadata({"f": print})
    dataset.set_metadata({"old": 1}, "both")
    dataset.set_metadata(numpy.arange(3), "both")
    assert dataset.get_metadata("both").tolist() == [0, 1, 2]
    dataset.finalize(auto_upload=True)
    child = Dataset.create(**PLACE, parent_datasets=[dataset])
    assert child.get_metadata("both") is None


def test_metadata_survive_a_sync(repo: dataver.Repository) -> None:
    """sync_folder removes files of the dataset, and not what set_metadata stored."""
    dataset = Dataset.create(**PLACE)
    dataset.set_metadata([1])
    Path("in").mkdir()
    Path("in/a").write_text("a")
    assert dataset.sync_folder("in") == (0, 1, 0)
    assert dataset.get_metadata() == [1]


def test_offline_mode_is_a_word(repo: dataver.Repository) -> None:
    """There is no server: offline mode changes nothing but what is_offline returns."""
    Dataset.set_offline(True)
    try:
        assert Dataset.is_offline()
        assert made({"a": "1"}).get_offline_mode_folder() is None
    finally:
        Dataset.set_offline(False)


@pytest.mark.servers
def test_a_bucket_gets_the_bytes_while_files_are_added(
    seaweedfs_server: Server, repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a bucket a draft streams: its packs are there after add_files, and no copy stays in the folder."""
    for name, value in seaweedfs_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATAVER_REPO", seaweedfs_server.url(f"clearml/{secrets.token_hex(6)}"))
    bucket = dataver.init(os.environ["DATAVER_REPO"])
    dataset, data = Dataset.create(**PLACE), os.urandom(1 << 20)
    Path("big.bin").write_bytes(data)
    dataset.add_files("big.bin")
    assert sum(path.stat().st_size for path in Path(".dataver").rglob("*") if path.is_file()) < len(data)
    dataset.finalize(auto_upload=True)
    assert bucket.version("Vision-co/Cats").read("big.bin") == data
    assert (Path(Dataset.get(dataset.id).get_local_copy()) / "big.bin").read_bytes() == data
