"""`dataver cache`: what is kept, what is removed, what is mended."""

import os
from pathlib import Path

import pytest

from dataver.cache.version_cache import VersionCache


@pytest.fixture
def cached(run, two_versions, tmp_path):
    """The folders of both versions, fetched by this process and used by nobody now."""
    folders = [run("fetch", f"vision/cats@{label}").out.strip() for label in ("1.0.0", "1.0.1")]
    cache = VersionCache(tmp_path / "cache")
    for folder in cache.folders():
        cache.done(folder.path.name)
    return folders


def test_info_shows_each_part_and_who_uses_it(run, cached, tmp_path, monkeypatch):
    """Versions with their sizes, the bound and who set it, small objects and indexes; in text and as JSON."""
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "3GB")
    run("fetch", "vision/cats@1.0.0")
    values = run("cache", "info", "--json").json
    assert [each["ref"] for each in values["versions"]] == ["vision/cats@1.0.1", "vision/cats@1.0.0"]
    assert [len(each["in_use_by"]) for each in values["versions"]] == [0, 1]
    assert (values["limit"], values["limit_from"]) == (3_000_000_000, "DATAVER_CACHE_SIZE")
    assert values["parts"]["index"]["files"] >= 1
    assert values["size"] > 0
    text = run("cache", "info").out
    assert "at most 3.0 GB (DATAVER_CACHE_SIZE)" in text
    assert f"process {os.getpid()}" in text
    assert "known chunks and their packs" in text
    VersionCache(tmp_path / "cache").done(os.path.basename(cached[0]))


def test_clean_shows_its_plan_and_wants_a_yes(run, cached, tmp_path):
    """Without an answer nothing goes; a plan changes nothing; by age; then all, indexes included."""
    run("cache", "clean", expect=2)
    plan = run("cache", "clean", "--plan", "--json").json
    assert sorted(each["path"] for each in plan["versions"]) == sorted(cached)
    assert plan["size"] > 0
    assert all(os.path.isdir(path) for path in cached)
    assert run("cache", "clean", "--older", "1d", "--yes", "--json").json["removed"] == 0
    assert run("cache", "clean", "--all", "--yes", "--json").json["removed"] == 2
    assert not any(os.path.exists(path) for path in cached)
    assert not (tmp_path / "cache" / "index").exists()
    assert run("cache", "info", "--json").json["versions"] == []
    run("fetch", "vision/cats@1.0.0")
    run("cache", "clean", "--older", "soon", "--yes", expect=1)


def test_verify_replaces_what_is_damaged(run, cached):
    """Found by hashing and fetched again; what cannot be compared is named, and the exit code is 3."""
    path = os.path.join(cached[1], "new.txt")
    status = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "w") as file:
        file.write("wen")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = run("cache", "verify")
    assert done.out == "vision/cats@1.0.1: 1 file replaced\n"
    assert Path(path).read_text() == "new"
    assert run("cache", "verify", "--json").json["repaired"] == []
    os.rename("repo", "gone")
    assert run("cache", "verify", "--json", expect=3).json["folders"] == 0
