"""The Croissant document of a version; `tests/readers/test_croissant.py` gives it to mlcroissant."""

import fnmatch
import json
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.api.croissant import _column, _license
from dataver_cli.main import main


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """A version of images, tables and other files, whose parent has no table; a run made both."""
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"DATAVER_{name}", str(tmp_path / name))
    monkeypatch.setenv("DATAVER_AUTHOR", "Ada")
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repo")
    source = tmp_path / "source"
    for name in ("train/a.jpg", "train/b.jpg", "README.md", "LICENSE", "odd [1]/archive.tar.gz"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    with dataver.run(name="prepare"):
        repo.sync(source, "vision/cats", message="June")
        for number in range(3):
            (source / f"train/{number}.csv").write_text(f"id,price\n{number},1.5\n")
        (source / "train/other.csv").write_text("x\n1\n")
        (source / "train/0.jsonl").write_text('{"tags/1": ["a"], "nested": {"a": 1}}\n')
        (source / "odd [1]/unknown.csv").write_bytes(b"")
        repo.sync(source, "vision/cats", message="July", metadata={"citation": "Ada 2026"})
    return repo


def test_a_document_says_what_is_known(repo: dataver.Repository) -> None:
    """Description, licence, origin, and the run that produced the version."""
    version = repo.version("vision/cats")
    version.describe("All cats", license="CC-BY-4.0", owner="vision team")
    found = version.croissant()
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert (found["name"], found["version"], found["description"]) == ("vision/cats", "1.0.1", "All cats")
    assert found["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert found["identifier"] == version.digest
    assert found["creator"]["name"] == "Ada"
    assert found["citeAs"] == "Ada 2026"
    (parent,) = found["prov:wasDerivedFrom"]
    assert parent == {"@id": "dataver://vision/cats@1.0.0", "identifier": f"dv1:{version.parents[0].tree}"}
    (run,) = found["prov:wasGeneratedBy"]
    assert run["prov:label"] == "prepare"
    assert run["identifier"] == repo.lineage.runs()[0].key
    repo.lineage.close()
    first = repo.version("vision/cats@1.0.0").croissant()
    assert first["description"] == "June"
    assert not {"license", "recordSet", "prov:wasDerivedFrom"} & first.keys()


def test_each_file_is_in_one_set(repo: dataver.Repository) -> None:
    """Files are sets by folder and extension; tables of equal columns have a record set."""
    version = repo.version("vision/cats")
    version.profile()
    found = version.croissant()
    sets = {each["name"]: each for each in found["distribution"]}
    assert sets.keys() == {
        *("*", "*.md", "train/*.jpg", "train/*.csv", "train/other.csv", "train/0.jsonl"),
        *("odd [1]/*.tar.gz", "odd [1]/*.csv"),
    }
    assert sets["train/*.csv"]["includes"] == [f"train/{number}.csv" for number in range(3)]
    assert sets["train/*.jpg"]["encodingFormat"] == "image/jpeg"
    for entry in version.entries():
        within = [
            name
            for name, each in sets.items()
            if entry.path.count("/") == name.count("/")
            and any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in each["includes"])
            and not any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in each.get("excludes", ()))
        ]
        assert len(within) == 1, entry
    columns = {
        each["name"]: [(field["name"], field["dataType"], field.get("isArray")) for field in each["field"]]
        for each in found["recordSet"]
    }
    assert columns == {
        "train/*.csv": [("id", "sc:Integer", None), ("price", "sc:Float", None)],
        "train/other.csv": [("x", "sc:Integer", None)],
        "train/0.jsonl": [("tags/1", "sc:Text", True)],
    }
    every = [each for found_set in found["recordSet"] for each in (found_set, *found_set["field"])]
    keys = [each["@id"] for each in (*found["distribution"], *every)]
    assert len(keys) == len(set(keys))


def test_profiles_of_others_are_not_trusted(repo: dataver.Repository) -> None:
    """A profile that is not one is absent: anyone who can write to the repository can write it."""
    version = repo.version("vision/cats")
    before = version.croissant()
    names = [each.digest for each in version.entries(include="**/*.csv")]
    lines = [
        b'1 {"columns":[{"name":"\\ud800","type":"int64"}],"kind":"table"}',
        b'1 {"columns":[{"name":"<x>"}],"kind":"table"}',
        b'1 {"columns":5,"kind":"table"}',
        b'1 {"columns":[{"name":{"@id":"x"},"nullable":true,"type":"int64"}],"kind":"table"}',
        b"1 []",
    ]
    lines_by_name = dict(zip(names, lines, strict=True))
    repo._core.profiles.add("vision/cats", "tables", [version._record.tree], lines_by_name)
    assert version.croissant() == before


def test_many_folders_become_few_sets(tmp_path: Path, repo: dataver.Repository) -> None:
    """A set has the files of a folder and of all below it, if there are too many folders."""
    for number in range(120):
        (tmp_path / f"many/a/{number}").mkdir(parents=True)
        (tmp_path / f"many/a/{number}/x.jpg").write_text(f"{number}")
    version = repo.sync(tmp_path / "many", "many").version
    assert version is not None
    (found,) = version.croissant()["distribution"]
    assert found["includes"] == ["a/*.jpg", "a/**/*.jpg"]
    for number in range(120):
        (tmp_path / f"many/{number}.e{number}").write_text("x")
    version = repo.sync(tmp_path / "many", "many").version
    assert version is not None
    assert [each["includes"] for each in version.croissant()["distribution"]] == [["*", "**/*"]]


@pytest.mark.parametrize(
    ("arrow", "croissant"),
    [
        ("bool", "Boolean"),
        ("uint8", "Integer"),
        ("halffloat", "Float"),
        ("decimal128(10, 2)", "Float"),
        ("timestamp[us, tz=UTC]", "DateTime"),
        ("date32[day]", "Date"),
        ("time64[us]", "Time"),
        ("large_string", "Text"),
        ("dictionary<values=string, indices=int32, ordered=0>", "Text"),
        ("large_list<item: timestamp[us]>", "DateTime"),
        ("struct<a: int64>", ""),
        ("list<item: list<item: int64>>", ""),
        ("interval", ""),
    ],
)
def test_types_of_columns(arrow: str, croissant: str) -> None:
    """Each scalar type of Arrow has one in Croissant, also in a list; columns of others are left out."""
    found = _column({"name": "c", "type": arrow})
    assert found == ("c", f"sc:{croissant}" if croissant else "", "list<" in arrow)


def test_licences_of_the_list_are_urls() -> None:
    """Expressions and licences of one's own have no URL."""
    assert _license("MIT") == "https://spdx.org/licenses/MIT.html"
    for expression in ("MIT OR Apache-2.0", "LicenseRef-Own", "GPL-2.0-only WITH Classpath-exception-2.0"):
        assert _license(expression) == expression


def test_show_prints_the_document(repo: dataver.Repository, capsys: pytest.CaptureFixture[str]) -> None:
    """It is JSON with and without `--json`; a version that is not uploaded has none."""
    for options in ([], ["--json"]):
        assert main(["--repo", repo.url, "show", "vision/cats", "--croissant", *options]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert found == repo.version("vision/cats").croissant()
    with pytest.raises(dataver.InvalidInput, match="not uploaded"):
        repo.create("vision/cats", parents="vision/cats").finalize(allow_empty=True).croissant()
