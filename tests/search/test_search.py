"""Finding versions and files by words."""

import pytest

import dataver
from dataver.errors import InvalidInput
from dataver.search.word_search import Hit


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Two datasets; the first one has a README, a description, and a file that its second version lacks."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    repo = dataver.init(tmp_path / "repo")
    folder = tmp_path / "photos"
    (folder / "train").mkdir(parents=True)
    (folder / "README.md").write_text("# Cats\n\nAll cats of the garden.\n")
    (folder / "train" / "IMG_0042.jpg").write_text("42")
    (folder / "train" / "img_0043.jpg").write_text("43")
    repo.sync(folder, "vision/cats", message="First delivery", metadata={"camera": "Olympus"})
    (folder / "train" / "img_0043.jpg").unlink()
    repo.sync(folder, "vision/cats", message="Second delivery")
    repo.sync(folder, "text/books", message="Sound of trees", metadata={"rows": 7}, allow_shrink=True)
    repo.version("vision/cats@1.0.0").describe("Photos of July", owner="Ana", license="MIT")
    repo.describe("vision/cats", "Everything with whiskers")
    return repo


def found(repo, words, **how):
    return [(hit.ref, hit.field) for hit in repo.search(words, files=False, **how)]


@pytest.mark.parametrize(
    ("words", "hits"),
    [
        ("july", [("vision/cats@1.0.0", "description")]),
        ("JUL pho", [("vision/cats@1.0.0", "description")]),
        ("july photos delivery", [("vision/cats@1.0.0", "description")]),
        ("olymp", [("vision/cats@1.0.0", "metadata")]),
        ("whiskers", [("vision/cats", "description")]),
        ("ana", [("vision/cats@1.0.0", "owner")]),
        ("mit", [("vision/cats@1.0.0", "license")]),
        (
            "garden",
            [
                ("text/books@1.0.0", "readme"),
                ("vision/cats@1.0.1", "readme"),
                ("vision/cats@1.0.0", "readme"),
            ],
        ),
        ("trees garden", [("text/books@1.0.0", "message")]),
        ("elephant", []),
        ('cats" OR "x', []),
    ],
)
def test_words_are_found_in_every_text(repo, words, hits):
    """All words must match, each as the beginning of a word; nothing is taken as syntax."""
    assert sorted(found(repo, words)) == sorted(hits)


def test_names_come_before_texts(repo):
    """A dataset of that name is what people look for."""
    fields = [field for _, field in found(repo, "cats")]
    assert fields == ["name", "name", "name", "readme"]
    assert found(repo, "cats", prefix="text/") == [("text/books@1.0.0", "readme")]
    assert len(found(repo, "cats", limit=2)) == 2


def test_files_are_found_by_their_paths(repo):
    """Once a dataset, with the latest version that has it, also where the one that added it was deleted."""

    def files(words, **how):
        return [(hit.ref, hit.text) for hit in repo.search(words, **how) if hit.field == "path"]

    expected = [("text/books@1.0.0", "train/IMG_0042.jpg"), ("vision/cats@1.0.1", "train/IMG_0042.jpg")]
    assert files("img 0042") == expected
    assert files("0043") == [("vision/cats@1.0.0", "train/img_0043.jpg")]
    assert files("0042", prefix="text/") == expected[:1]
    assert files("0042", limit=1) == expected[:1]
    repo.version("vision/cats@1.0.0").delete()
    assert files("0042") == expected
    assert files("0043") == []


def test_what_changes_is_found_at_the_next_search(repo):
    """New versions, later descriptions, deletions, and a new index."""
    assert found(repo, "august") == []
    repo.version("vision/cats@1.0.0").describe("Photos of August")
    assert found(repo, "august") == [("vision/cats@1.0.0", "description")]
    assert found(repo, "july") == []
    repo.version("vision/cats@1.0.0").delete()
    assert found(repo, "august") == []
    repo.version("text/books").describe("from August")
    assert found(repo, "august") == [("text/books@1.0.0", "description")]
    repo.lineage.rebuild()
    assert found(repo, "august") == [("text/books@1.0.0", "description")]


def test_a_second_search_reads_no_object_again(repo, monkeypatch):
    """Only listings: the texts are in the index."""
    first = repo.search("cats")
    reads = []
    store = type(repo._core.store)
    get = store.get
    monkeypatch.setattr(store, "get", lambda self, key, *rest: (reads.append(key), get(self, key, *rest))[1])
    assert repo.search("cats") == first
    assert reads == []


def test_a_result_says_where(repo):
    """With the text around the word."""
    assert repo.search("whisk") == [Hit("vision/cats", "description", "Everything with whiskers")]
    long = "word " * 60 + "needle " + "word " * 60
    repo.version("text/books").describe(long)
    (hit,) = repo.search("needle")
    assert "needle" in hit.text and len(hit.text) < 120


@pytest.mark.parametrize("words", ["", '"*', "- ."])
def test_a_search_needs_a_word(repo, words):
    with pytest.raises(InvalidInput, match="has no word"):
        repo.search(words)


def test_columns_of_tables_are_found(repo, tmp_path):
    """With the latest version that has the table, whoever made its profile."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "prices.csv").write_text("id,unit_price,fruit\n1,2.5,pear\n")
    (folder / "shops.csv").write_text("name,city\nA,Ulm\n")
    repo.sync(folder, "shop/prices")
    (folder / "note.txt").write_text("by hand")
    repo.sync(folder, "shop/prices")
    assert repo.search("price fruit") == [Hit("shop/prices@1.0.1", "column", "prices.csv: unit_price, fruit")]
    assert repo.search("price fruit", files=False) == []
    assert repo.search("city", prefix="vision/") == []
    (folder / "shops.csv").write_text("name,country\nA,DE\n")
    repo.sync(folder, "shop/prices")
    assert repo.search("city") == [Hit("shop/prices@1.0.1", "column", "shops.csv: city")]
    assert repo.search("country") == [Hit("shop/prices@1.0.2", "column", "shops.csv: country")]
    (folder / "shops.csv").write_text("name,country,code\nA,DE,2\n")
    repo.sync(folder, "shop/prices")
    hits = [Hit("shop/prices@1.0.3", "column", "shops.csv: name")]  # once, with its latest content
    assert repo.search("name") == hits == repo.search("name", limit=1)
    assert repo.search("country") == [Hit("shop/prices@1.0.3", "column", "shops.csv: country")]
    repo.lineage.rebuild()
    assert repo.search("country") == [Hit("shop/prices@1.0.3", "column", "shops.csv: country")]


def test_damaged_profiles_are_left_out_of_a_search(repo, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shops.csv").write_text("name,city\nA,Ulm\n")
    repo.sync(folder, "shop/prices")
    (path,) = (tmp_path / "repo" / "profiles").rglob("tables-*")
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    assert repo.search("city") == []
