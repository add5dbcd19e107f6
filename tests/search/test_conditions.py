"""Filters over versions."""

import pytest

import dataver
from dataver.errors import InvalidInput


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Three versions of two datasets, with metadata and a tag."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DATAVER_AUTHOR", "ana")
    repo = dataver.init(tmp_path / "repo")
    folder = tmp_path / "data"
    folder.mkdir()
    for number, metadata in enumerate(
        [{"rows": 10, "camera": "a"}, {"rows": 2_000_000, "size": "small"}, {"ok": True}]
    ):
        (folder / str(number)).write_text("x" * 10)
        repo.sync(folder, "b" if number == 2 else "a", metadata=metadata)
    repo.version("a@1.0.0").describe("first", license="mit", set={"from the field": 1})
    repo.tag("a@1.0.0", "production")
    repo.tag("a@1.0.0", "reviewed")
    return repo


@pytest.mark.parametrize(
    ("condition", "refs"),
    [
        ("rows > 1e6", ["a@1.0.1"]),
        ("rows > 1 and license = 'MIT'", ["a@1.0.0"]),
        ('license = "MIT"', ["a@1.0.0"]),
        ("license is null and owner is null", ["b@1.0.0", "a@1.0.1"]),
        ("camera is null", ["b@1.0.0", "a@1.0.1"]),
        ("ok = true", ["b@1.0.0"]),
        ("tag = 'production' or tag = 'reviewed'", ["a@1.0.0"]),
        ("tag is null", ["b@1.0.0", "a@1.0.1"]),
        ("size = 20 and name = 'a'", ["a@1.0.1"]),
        ("\"metadata.size\" = 'small'", ["a@1.0.1"]),
        ('"from the field" = 1', ["a@1.0.0"]),
        ("author = 'ana' and created > '2026-01' and files < 3", ["a@1.0.1", "a@1.0.0"]),
        ("description like 'fir%'", ["a@1.0.0"]),
        ("name = 'c'", []),
    ],
)
def test_conditions_select_versions(repo, condition, refs):
    """Columns, metadata, tags, in SQL's syntax; double quotes are texts where no column has the name."""
    assert [version.ref for version in repo.find(condition)] == refs


def test_a_prefix_selects_datasets(repo):
    assert [version.ref for version in repo.find("files > 0", prefix="b")] == ["b@1.0.0"]
    assert repo.find("rows = 10")[0].metadata["camera"] == "a"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("rwos > 1", "no such column: rwos"),
        ("rows >", "syntax error"),
        (" ", "is empty"),
        ("1); DROP TABLE texts; --", "."),
        ("1 = (SELECT count(*) FROM pragma_table_info('texts'))", "prohibited|not authorized|no such"),
        ("load_extension('x')", "not authorized|no such function"),
        (
            "1 = (WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t)",
            "interrupted|not authorized",
        ),
    ],
)
def test_what_is_no_condition_is_one_sentence(repo, condition, reason):
    """The columns are named; nothing is changed, and nothing runs for ever."""
    with pytest.raises(InvalidInput, match=reason) as caught:
        repo.find(condition)
    assert "rows" in caught.value.hint
    assert [version.ref for version in repo.find("rows = 10")] == ["a@1.0.0"]
