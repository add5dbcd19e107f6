"""Nothing needs profiles: with a store that denies them, or odd lines in them, all else goes on."""

import os
import tracemalloc
from datetime import timedelta

import pytest

import dataver
from dataver.cache.object_cache import DiskCache
from dataver.errors import StoreError
from dataver.formats.profile import encode_profile
from dataver.hashing import digest
from dataver.repository.profiles import Profiles
from dataver.storage.local import LocalStore

TABLE = b"town,rain\nBonn,1\n"
NAME = digest(TABLE)
COLUMNS = [{"name": "town", "type": "string", "nullable": True}]
GOOD = encode_profile({"kind": "table", "full": False, "columns": COLUMNS, "rows": 1})
WAYS = {
    "write": ["put_new", "put_many_new", "delete", "delete_many"],
    "list": ["list"],
    "get": ["get_bounded"],
}
ODD = [
    b"1 {",
    b'2 {"kind":"table","rows":"x"}',
    b'1 {"columns":[1],"kind":"table"}',
    b'1 {"columns":[{"name":1,"nullable":true,"type":"int64"}],"kind":"table"}',
    b'1 {"kind":"table","rows":NaN}',
    b'1 {"kind":"table","sample":' + b"[" * 600 + b"]" * 600 + b"}",
    b'1 {"kind":"table","statistics":{"num_examples":1}}',
]


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Two versions, each with another file beside a table, and a profile that names both."""
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"DATAVER_{name}", str(tmp_path / name))
    monkeypatch.setenv("DATAVER_PROFILES", "off")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/t.csv").write_bytes(TABLE)
    repo = dataver.init(tmp_path / "repo")
    trees = []
    for name in ("a", "b"):
        (tmp_path / "data" / name).write_bytes(name.encode() * 1000)
        trees.append(repo.sync(tmp_path / "data", "cats", workspace=tmp_path).version._record.tree)
        (tmp_path / "data" / name).unlink()
    repo._core.profiles.add("cats", "tables", trees, {NAME: GOOD})
    return repo


@pytest.fixture(params=WAYS)
def deny(request, monkeypatch):
    """Deny one kind of access to everything below `profiles/`, as a role of before them does."""

    def now(only: str = "") -> None:
        for method in WAYS[request.param]:
            original = getattr(LocalStore, method)

            def asked(self, keys, *args, original=original, **options):
                keys = keys if isinstance(keys, str) else list(keys)
                first = keys if isinstance(keys, str) else keys[0] if keys else ""
                key = first if isinstance(first, str) else first[0]
                if key.startswith("profiles/") and only in self.url:
                    raise StoreError("denied")
                return original(self, keys, *args, **options)

            monkeypatch.setattr(LocalStore, method, asked)

    return now


def test_gc_frees_all_else(repo, deny):
    repo.version("cats@1.0.0").delete()
    deny()
    report = repo.gc(grace=timedelta(0), delete_most=True)
    assert report.blocks == 1
    assert report.problems == [("profiles/", "denied")]


@pytest.mark.parametrize("end", ["repo", "other"])
def test_a_push_sends_all_else(repo, deny, tmp_path, end):
    other = dataver.init(tmp_path / "other")
    deny(f"/{end}")
    report = repo.push(other)
    assert [each.label for each in other.versions("cats")] == ["1.0.0", "1.0.1"]
    assert report.problems in ([], [("profiles/", "denied")])


def test_a_rename_is_completed(repo, deny):
    deny()
    plan = repo.rename("cats", "dogs")
    assert [each.name for each in repo.datasets()] == ["dogs"]
    assert plan.problems == [("profiles/", "denied")]


def test_verify_and_readers_go_on(repo, deny):
    deny()
    version = repo.version("cats")
    assert repo.verify().findings in ([], [("profiles/", "denied")])
    assert version.kinds() and version.schema("t.csv") and version.croissant()
    assert "csv" in version._repr_html_()
    assert [hit.field for hit in repo.search("csv")] == ["path"]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_line_is_absent_reported_and_removed(repo, odd):
    tree = repo.version("cats")._record.tree
    repo._core.profiles.add("cats", "tables", [tree], {NAME: odd})
    version = repo.version("cats")
    assert [profile["rows"] for _, profile in version.profiles()] == [1]
    assert [each.rows for each in version.kinds() if each.kind == "table"] == [1]
    assert [column.name for column in version.schema("t.csv")] == ["town"]
    assert [hit.field for hit in repo.search("town")] == ["column"]
    assert len(repo.verify().findings) == 1
    repo.gc()
    assert repo.verify().ok
    report = version.profile()
    assert (report.made.total(), report.known) == (1, 0)


def test_a_garbled_answer_is_not_kept_and_deletes_nothing(repo, tmp_path, monkeypatch):
    get = LocalStore.get_bounded
    monkeypatch.setattr(LocalStore, "get_bounded", lambda *_: b"<html>")
    profiles = Profiles(repo._core.store, DiskCache(tmp_path / "objects"))
    assert profiles.find("cats", "tables") == {}
    monkeypatch.setattr(LocalStore, "get_bounded", get)
    assert profiles.find("cats", "tables") == {NAME: GOOD}
    ((info, _),) = profiles.objects()
    profiles._cache.put(info.key, b"<html>")
    assert profiles.find("cats", "tables") == {NAME: GOOD}
    profiles._cache.put(info.key, b"<html>")
    trees = {each._record.tree for each in repo.versions("cats")}
    assert list(profiles.stale(profiles.objects(), {"cats": trees})) == []


def test_a_garbled_answer_is_not_copied(repo, monkeypatch):
    get = LocalStore.get_bounded

    def garbled(self, key, most):
        data = get(self, key, most)
        return data[:-1] if key.startswith("profiles/cats") else data

    monkeypatch.setattr(LocalStore, "get_bounded", garbled)
    repo.rename("cats", "dogs")
    assert repo._core.profiles.objects("dogs") == []


@pytest.mark.parametrize("ask", ["croissant", "profile"])
def test_the_profiles_of_a_dataset_are_never_all_in_memory(repo, ask):
    tree = repo.version("cats")._record.tree
    for _ in range(30):
        line = encode_profile({"kind": "table", "full": True, "sample": [os.urandom(350_000).hex()]})
        repo._core.profiles.add("cats", "tables", [tree], {digest(line): line})
    version = repo.version("cats")
    getattr(version, ask)()  # imports
    tracemalloc.start()
    getattr(version, ask)()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
