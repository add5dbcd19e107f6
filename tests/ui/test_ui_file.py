"""A file by its content."""

import pytest


def test_a_content_has_all_its_places_and_runs(pages):
    """Under each name, newest first; a run once for each role."""
    digest = pages.repo.version("vision/cats").entry("test/0007.jpg").digest.hex()
    found = pages.document("file", digest=digest)
    places = [(each["version"]["ref"], each["path"]) for each in found["versions"]]
    assert places == [("vision/cats@1.0.1", "test/0007.jpg"), ("vision/cats@1.0.0", "train/0007.jpg")]
    assert found["entry"]["digest"] == digest
    assert (found["datasets"], found["paths"]) == (1, 2)
    readers = {each["name"]: each for each in found["runs"] if each["link"]["role"] == "input"}
    assert readers["train 2"]["certain"]
    assert len(readers) == len([each for each in found["runs"] if each["link"]["role"] == "input"])
    page = pages.page("file", digest=digest[:12])
    assert "/-/version?ref=vision/cats@1.0.1&amp;path=test/0007.jpg" in page


def test_a_path_has_all_its_contents(pages):
    """Each with its own page."""
    found = pages.document("file", path="settings.json")
    assert len(found["contents"]) == 2
    page = pages.page("file", path="settings.json")
    for each in found["contents"]:
        assert f"digest={each}" in page


def test_places_page(pages):
    """Fifty a page."""
    found = pages.document("file", path="0000.txt")
    assert found["place"]["total"] == 40
    assert pages.ask("/-/file?path=0000.txt&page=2").status == 404


@pytest.mark.parametrize("query", ["digest=", "digest=xyz", "digest=../etc"])
def test_what_is_no_digest_is_refused(pages, query):
    """With the reason."""
    assert pages.ask(f"/-/file?{query}").status == 400


def test_files_of_this_machine_are_not_read(pages, tmp_path, monkeypatch):
    """A path is one in versions, a digest is a digest, even if the server's folder has such a file."""
    content = pages.repo.version("vision/cats").read("labels.csv")
    monkeypatch.chdir(tmp_path)
    for name in ("labels.txt", "abcdef0123456789"):
        (tmp_path / name).write_bytes(content)
    assert pages.ask(f"/-/file?path={tmp_path}/labels.txt").status == 404
    assert pages.ask("/-/file?path=labels.txt").status == 404
    assert pages.ask("/-/file?digest=abcdef0123456789").status == 404


def test_the_place_that_one_came_from_is_kept(pages):
    """Of several places of a content, the one in the address is the entry."""
    digest = pages.repo.version("vision/cats").entry("test/0007.jpg").digest.hex()
    for ref, path in (("vision/cats@1.0.0", "train/0007.jpg"), ("vision/cats@1.0.1", "test/0007.jpg")):
        entry = pages.document("file", digest=digest, ref=ref, path=path)["entry"]
        assert (entry["ref"], entry["path"]) == (ref, path)
        impact = f"/-/lineage?ref={ref}&amp;path={path}&amp;impact=1"
        assert impact in pages.page("file", digest=digest, ref=ref, path=path)
