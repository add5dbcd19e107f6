"""Descriptions beside the records: complete, numbered, never changed."""

import threading
from dataclasses import replace

import pytest

import dataver
from dataver.errors import FormatTooNew, InvalidInput, NotFound
from dataver.repository import RepositoryCore as Core
from dataver.repository.audit import read_audit
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Two versions with metadata of their records, and a README in each."""
    monkeypatch.setenv("DATAVER_AUTHOR", "ana")
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "README.md").write_text("# Cats\n")
    repo = dataver.init(tmp_path / "repo")
    for number in (1, 2):
        (tmp_path / "photos" / "a").write_text(str(number))
        repo.sync(tmp_path / "photos", "cats", metadata={"camera": number}, workspace=tmp_path)
    return repo


def test_a_version_is_described_without_changing_it(repo):
    """Fields that are not given stay; the first description starts with the record's metadata."""
    version = repo.version("cats@1.0.0")
    before = version.record_id, version.digest
    assert (version.description, version.metadata, version.readme) == (None, {"camera": 1}, "# Cats\n")
    version.describe("Photos", license="mit or cc-by-4.0", set={"light": [1, 2]})
    made = version.describe(owner="vision team", unset=["camera"])
    again = repo.version("cats@1.0.0")
    assert again.description == made == version.description
    assert (made.text, made.license, made.owner) == ("Photos", "MIT OR CC-BY-4.0", "vision team")
    assert again.metadata == {"light": [1, 2]}
    assert [each.number for each in again.description_history()] == [1, 2]
    assert again.description_history()[0].metadata == {"camera": 1, "light": [1, 2]}
    assert (again.record_id, again.digest) == before
    assert repo.version("cats").metadata == {"camera": 2}
    assert repo.verify().ok


def test_an_edit_that_changes_nothing_adds_nothing(repo):
    """A script may describe the same again."""
    version = repo.version("cats")
    assert version.describe("same").number == version.describe("same").number == 1


def test_the_readme_is_that_of_the_description_else_the_file(repo):
    """An empty one restores the file's."""
    version = repo.version("cats")
    version.describe(readme="# Card\n")
    assert repo.version("cats").readme == "# Card\n"
    version.describe(readme="")
    assert repo.version("cats").readme == "# Cats\n"


def test_a_dataset_is_described_as_a_whole(repo):
    """Apart from its versions, and listed with them in the audit."""
    repo.describe("cats", "all cats", owner="ana")
    repo.version("cats").describe("photos")
    assert (repo.description("cats").text, repo.version("cats").description.text) == ("all cats", "photos")
    assert [each.text for each in repo.description_history("cats")] == ["all cats"]
    changes = read_audit(repo._core, "cats").changes
    told = [(each.name, each.text, each.author) for each in changes if each.action == "describe"]
    assert told == [("cats", "all cats", "ana"), ("cats@1.0.1", "photos", "ana")]
    with pytest.raises(NotFound):
        repo.describe("dogs", "none")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"license": "free"}, "not an SPDX"),
        ({"unset": ["nothing"]}, "has no metadata 'nothing'"),
        ({"readme": "x" * 600_000}, "more than 512 KiB"),
        ({"set": {"x": float("nan")}}, "JSON cannot represent"),
    ],
)
def test_what_a_description_cannot_hold_is_refused(repo, fields, reason):
    """And nothing is written."""
    with pytest.raises(InvalidInput, match=reason):
        repo.version("cats").describe(**fields)
    assert repo.version("cats").description_history() == []


def test_descriptions_at_once_lose_no_field(repo):
    """Eight writers set a key each: the last description has all of them."""
    threads = [
        threading.Thread(target=repo.version("cats").describe, kwargs={"set": {f"key{number}": number}})
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = repo.version("cats")
    assert found.metadata == {"camera": 2, **{f"key{number}": number for number in range(8)}}
    assert [each.number for each in found.description_history()] == list(range(1, 9))


def test_listing_versions_reads_descriptions_with_one_listing(repo):
    """However many versions there are."""
    inner = MemoryStore()
    copy = dataver.Repository(Core(inner, repo._core.config), "memory://test")
    repo.push(copy)
    copy.version("cats@1.0.0").describe("first")
    store = FaultyStore(inner)
    counted = dataver.Repository(Core(store, repo._core.config), "memory://test")
    texts = [each.description and each.description.text for each in counted.versions("cats")]
    assert texts == ["first", None]
    assert [each.method for each in store.requests if "descriptions/" in each.key] == ["list", "get"]


def test_a_description_of_another_record_is_ignored(repo, tmp_path):
    """In a repository that was restored, a label may belong to another version."""
    made = repo.version("cats@1.0.0").describe("photos", set={"x": 1})
    path = tmp_path / "repo" / "descriptions" / "cats" / "versions" / "1.0.0" / "00000001.json"
    path.chmod(0o600)
    path.write_bytes(replace(made, record="ab" * 32).encode())
    version = repo.version("cats@1.0.0")
    assert (version.description, version.metadata) == (None, {"camera": 1})
    assert version.describe(owner="ben").metadata == {"camera": 1}


def test_a_damaged_description_hides_nothing_else(repo, tmp_path):
    """The one before it holds, `verify` names the object, and the version can be described and renamed."""
    version = repo.version("cats@1.0.0")
    version.describe("photos")
    version.describe(owner="ben")
    path = tmp_path / "repo" / "descriptions" / "cats" / "versions" / "1.0.0" / "00000002.json"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"photos", b"photoz"))
    assert [name for name, _ in repo.verify().findings] == ["descriptions/cats/versions/1.0.0/00000002.json"]
    found = repo.version("cats@1.0.0")
    assert (found.description.text, found.description.owner) == ("photos", "")
    assert [each.description and each.description.text for each in repo.versions("cats")] == ["photos", None]
    assert [each.ref for each in repo.find("description = 'photos'")] == ["cats@1.0.0"]
    assert found.describe(license="MIT").number == 3
    repo.rename("cats", "dogs")
    assert repo.version("dogs@1.0.0").description.license == "MIT"


def test_a_description_of_a_newer_dataver_is_not_replaced(repo, tmp_path):
    """Its fields would be lost; what was said before is shown."""
    version = repo.version("cats@1.0.0")
    version.describe("photos")
    made = version.describe(owner="ben")
    path = tmp_path / "repo" / "descriptions" / "cats" / "versions" / "1.0.0" / "00000002.json"
    path.chmod(0o600)
    path.write_bytes(made.encode().replace(b'"format":2', b'"format":9'))
    assert repo.version("cats@1.0.0").description.owner == ""
    with pytest.raises(FormatTooNew):
        repo.version("cats@1.0.0").describe(owner="ana")
