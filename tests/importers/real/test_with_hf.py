"""The real client of the Hugging Face Hub, against a small server that answers the Hub's HTTP API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, snapshot_download

import dataver
from dataver.errors import StoreError
from dataver.importers import import_versions
from dataver.importers.hf import hub_source
from dataver.importers.source import SourceFile
from first_hour.playing import Play

from .hub import Hub

CARD = b"---\nlicense: mit\ntags: [cats]\n---\n# Cats\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A dataset of five commits, of which three are versions on main and one on a branch."""
    hub = Hub()
    hub.commit({".gitattributes": b"*.bin lfs"}, "initial commit")
    hub.commit({"README.md": CARD, "data/a@b é.csv": b"1\n", "big.bin": b"x" * 5_000_000}, "first")
    same = hub.commit({"README.md": CARD, "data/a@b é.csv": b"1\n", "big.bin": b"x" * 5_000_000}, "the same")
    hub.commit({"README.md": CARD, "big.bin": b"y" * 5_000_000}, "second")
    hub.commit({"README.md": CARD, "big.bin": b"z"}, "tried", branch="try/this")
    hub.commit({"README.md": CARD + b"all\n", "big.bin": b"y" * 5_000_000}, "third")
    hub.tags = {"v1.0.0": same}
    with hub.serving():
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # as by HF_ENDPOINT, which is read at import
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub


def content(file: SourceFile) -> bytes:
    """Return the bytes of a file of the source."""
    if file.url is not None:
        return Path(file.url).read_bytes()
    assert file.read is not None
    with file.read() as opened:
        return opened.read()


def test_commits_of_the_hub_are_versions(hub: Hub) -> None:
    """Each with the files, message, author and time of its commit; branches go off where they did."""
    source = hub_source("datasets/team/cats")
    versions = list(source.versions())
    assert source.problems == []
    assert [each.message for each in versions] == ["first", "second", "third", "tried"]
    first, second, third, tried = versions
    assert [each.parents for each in versions] == [(), (first.key,), (second.key,), (second.key,)]
    assert (first.label, first.tags, tried.tags) == ("1.0.0", ("v1.0.0",), ("try/this",))
    assert (first.author, str(first.created)) == ("ada", "2026-01-02 12:00:00+00:00")
    assert third.metadata == {"license": "mit", "tags": ["cats"]}
    for each in versions:
        assert {file.path: content(file) for file in each.files()} == hub.contents[each.key]


def test_the_cache_of_the_client_is_the_same_history(hub: Hub, tmp_path: Path) -> None:
    """Files of a cache and of the Hub have the same names of contents and the same checksums."""
    names = [each["id"] for each in hub.branches["main"][1:]]
    for name in names[::2]:
        snapshot_download("team/cats", repo_type="dataset", revision=name, cache_dir=tmp_path)
    snapshot_download("team/cats", repo_type="dataset", cache_dir=tmp_path)
    source = hub_source(str(tmp_path / "datasets--team--cats"))
    versions = list(source.versions())
    online = {each.key: each for each in hub_source("team/cats").versions()}
    assert source.problems == []
    assert versions
    for each in versions:
        theirs = online.get(each.key) or online[names[0]]
        assert {file[:2] for file in each.files()} == {file[:2] for file in theirs.files()}
        assert {file.check for file in each.files()} == {file.check for file in theirs.files()}
        assert {file.path: content(file) for file in each.files()} == hub.contents[each.key]


def test_a_part_of_a_commit_in_the_cache_names_the_rest(hub: Hub, tmp_path: Path) -> None:
    """The client keeps the names of all files of a commit, so what was not downloaded is known."""
    snapshot_download("team/cats", repo_type="dataset", cache_dir=tmp_path, allow_patterns="*.bin")
    [version] = hub_source(str(tmp_path)).versions()
    assert {file.path: file.missing for file in version.files()} == {
        "big.bin": None,
        "README.md": "it was not downloaded",
    }


def test_a_dataset_that_is_not_there_is_a_clear_error(hub: Hub) -> None:
    """One sentence, and how to get access."""
    with pytest.raises(
        StoreError, match=r"hf://datasets/team/dogs on http.* cannot be read: .*Not Found"
    ) as caught:
        list(hub_source("team/dogs").versions())
    assert "\n" not in caught.value.message
    assert "hf auth login" in str(caught.value.hint)


def test_an_import_has_the_bytes_of_every_version(hub: Hub, repo: dataver.Repository) -> None:
    """Again it brings nothing; later it brings the commits that are new."""
    report = import_versions(repo, hub_source("team/cats"))
    assert report.problems == []
    assert len(report.versions) == 4
    for version in report.versions:
        files = hub.contents[version.metadata["imported"]["id"]]
        assert {each.path: version.read(each.path) for each in version.entries()} == files
    assert repo.version("team/cats@v1.0.0").label == "1.0.0"
    assert repo.version("team/cats").message == "third"
    hub.commit({"README.md": CARD + b"all\n", "more.bin": b"x" * 100}, "fourth")
    again = import_versions(repo, hub_source("team/cats"))
    assert (again.known, [each.message for each in again.versions]) == (4, ["fourth"])
    assert (again.files, again.size, again.problems) == (1, 100, [])


def test_bytes_that_were_damaged_are_left_out(hub: Hub, repo: dataver.Repository) -> None:
    """The file is reported, and all others come over."""
    hub.damaged = {"big.bin"}
    report = import_versions(repo, hub_source("team/cats"))
    assert len(report.versions) == 4
    assert {name.split(" in ")[0] for name, _ in report.problems} == {"big.bin"}
    assert report.versions[0].read("data/a@b é.csv") == b"1\n"


def test_the_page_for_users_of_the_hub(play: Play) -> None:
    """Every command prints what the page shows."""
    hub, table = Hub("org/cats"), b"a,b\n" * 9000
    hub.tags["v1.0.0"] = hub.commit({"README.md": CARD, "train.csv": table}, "Add the photos of June")
    hub.commit({"README.md": CARD, "train.csv": table + b"1,2\n"}, "Add July")
    with hub.serving():
        home = play("docs/coming-from/huggingface.md", {"HF_ENDPOINT": hub.url})
    assert (home / "cats" / "README.md").read_bytes() == CARD
