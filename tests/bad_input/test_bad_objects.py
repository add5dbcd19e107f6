"""Damaged objects of a repository: named, found by verify, never believed; the rest stays usable."""

import json
import os
import random
import shutil

import pytest

import dataver
from dataver.errors import FormatTooNew, IntegrityError, NotFound

from .conftest import contents

KINDS = ["packs", "trees", "datasets"]
DAMAGE = {
    "a bit is flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
    "its end is missing": lambda data: data[: len(data) * 2 // 3],
    "it is empty": lambda data: b"",
    "it is zeros": lambda data: bytes(len(data)),
    "something follows it": lambda data: data + b"\n",
    "it is another": None,
    "it is gone": None,
}


@pytest.fixture
def published(repo, source, tmp_path):
    """Two datasets that share nothing; what the first one's objects are."""
    repo.sync(source, "bad")
    mine = {kind: only_file(tmp_path / "repo" / kind) for kind in KINDS}
    noise = random.Random(9)
    shutil.copytree(source, tmp_path / "other")
    for path in (tmp_path / "other").iterdir():
        path.write_bytes(noise.randbytes(path.stat().st_size))
    repo.sync(tmp_path / "other", "good")
    return mine


def only_file(folder):
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


def spoil(path, damage):
    path.chmod(0o644)
    if damage == "it is gone":
        path.unlink()
    elif damage == "it is another":
        kind = path.relative_to(path.parents[3] if path.suffix else path.parents[2])
        others = [each for each in path.parents[2].rglob("*") if each.is_file() and each != path]
        assert others, kind
        path.write_bytes(others[0].read_bytes())
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))


def new_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache" / "second"))
    return dataver.open(tmp_path / "repo")


def readable(version):
    """Return what can be read of a version, and the names in the errors for what cannot."""
    got, errors = {}, []
    try:
        paths = [entry.path for entry in version.entries()]
    except (IntegrityError, FormatTooNew) as error:
        return got, [str(error)]
    for path in paths:
        try:
            got[path] = version.read(path)
        except (IntegrityError, FormatTooNew) as error:
            errors.append(str(error))
    return got, errors


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["packs", "trees"])
def test_a_damaged_pack_or_block_is_named_and_nothing_wrong_is_given(
    published, source, tmp_path, monkeypatch, kind, damage
):
    """Fetch and cat fail by name or give the right bytes; verify finds it; the other dataset is untouched."""
    victim = published[kind]
    spoil(victim, damage)
    repo, expected = new_machine(tmp_path, monkeypatch), contents(source)
    got, errors = readable(repo.version("bad"))
    assert got.items() <= expected.items()
    report = repo.verify("bad")
    named = " ".join(f"{name} {what}" for name, what in report.findings)
    assert not report.ok and victim.name in named
    quick = repo.verify("bad", quick=True)
    assert not quick.ok and victim.name in " ".join(f"{name} {what}" for name, what in quick.findings)
    if len(got) == len(expected):  # only bytes that no file needs were hit
        assert errors == []
        assert contents(repo.fetch("bad", dest=tmp_path / "own").path) == expected
    else:
        with pytest.raises((IntegrityError, FormatTooNew)) as caught:
            repo.fetch("bad", dest=tmp_path / "own")
        text = str(caught.value)
        assert victim.name in text or any(repr(path) in text for path in expected.keys() - got.keys())
        assert not (tmp_path / "own").exists()
    assert contents(repo.fetch("good").path) == contents(tmp_path / "other")
    assert repo.verify("good").ok


@pytest.mark.parametrize("damage", [each for each in DAMAGE if each != "it is another"])
def test_a_damaged_record_is_named_and_the_other_versions_stay(
    published, source, tmp_path, monkeypatch, damage
):
    """The version cannot be resolved, which says its name; others are listed, read and made."""
    spoil(published["datasets"], damage)
    repo = new_machine(tmp_path, monkeypatch)
    for use in (repo.version, repo.verify, repo.fetch):
        with pytest.raises((IntegrityError, NotFound), match="bad"):
            use("bad")
    assert contents(repo.fetch("good").path) == contents(tmp_path / "other")
    (tmp_path / "other" / "more").write_text("more")
    assert repo.sync(tmp_path / "other", "good").version.ref == "good@1.0.1"


def test_a_record_that_names_another_tree_is_the_tree_it_says(published, tmp_path, monkeypatch):
    """A record made by hand for content that is not there is an error about the missing block, by digest."""
    path = published["datasets"]
    repo = new_machine(tmp_path, monkeypatch)
    tree = repo.version("bad").digest[4:]
    path.chmod(0o644)
    values = json.loads(path.read_bytes().replace(tree.encode(), b"5" * 64)) | {"format": 1}
    del values["checksum"]
    path.write_text(json.dumps(values, sort_keys=True, separators=(",", ":")))
    repo = dataver.open(tmp_path / "repo")
    for use in (repo.fetch, lambda ref: list(repo.version(ref).entries())):
        with pytest.raises(IntegrityError, match=r"tree block 5{64} is missing"):
            use("bad")
    assert not repo.verify("bad").ok


@pytest.mark.slow
def test_no_single_bit_of_a_pack_or_block_is_unguarded(repo, tmp_path, monkeypatch):
    """Every byte of both objects is flipped in turn: verify finds each, and no read gives a wrong byte."""
    (tmp_path / "source").mkdir()
    expected = {"a": b"first content", "b": bytes(range(256)), "c": b""}
    for name, data in expected.items():
        (tmp_path / "source" / name).write_bytes(data)
    repo.sync(tmp_path / "source", "d")
    for kind in ("packs", "trees"):
        path = only_file(tmp_path / "repo" / kind)
        path.chmod(0o644)
        good = path.read_bytes()
        for number in range(len(good)):
            path.write_bytes(good[:number] + bytes([good[number] ^ (1 << number % 8)]) + good[number + 1 :])
            opened = dataver.open(tmp_path / "repo")
            got, _ = readable(opened.version("d"))
            assert got.items() <= expected.items()
            assert not opened.verify("d").ok, f"byte {number} of {kind}"
        path.write_bytes(good)
    assert dataver.open(tmp_path / "repo").verify("d").ok


def test_a_child_of_a_damaged_version_is_still_whole_where_it_shares_nothing(
    repo, source, tmp_path, monkeypatch
):
    """Damage in a pack of the parent hits the files in it, and no other."""
    repo.sync(source, "d")
    pack = only_file(tmp_path / "repo" / "packs")
    (source / "new").write_bytes(os.urandom(50_000))
    repo.sync(source, "d")
    spoil(pack, "it is zeros")
    repo = new_machine(tmp_path, monkeypatch)
    assert repo.version("d").read("new") == (source / "new").read_bytes()
    assert contents(repo.fetch("d", dest=tmp_path / "part", include=["new"]).path) == {
        "new": (source / "new").read_bytes()
    }
    findings = dict(repo.verify("d").findings)
    assert "new" not in findings
    assert set(contents(source)) - {"new"} <= findings.keys()


def test_a_new_version_does_not_rely_on_a_damaged_pack_it_cannot_read(repo, source, tmp_path, monkeypatch):
    """A machine that learns the parent's chunks skips a pack without a footer and stores them again."""
    repo.sync(source, "d")
    spoil(only_file(tmp_path / "repo" / "packs"), "its end is missing")
    repo = new_machine(tmp_path, monkeypatch)
    (source / "29").write_bytes((source / "29").read_bytes() + b"more")
    version = repo.sync(source, "d", message="again").version
    assert version.read("29") == (source / "29").read_bytes()


def test_damage_in_the_cached_folder_never_reaches_a_copy(repo, source, tmp_path):
    """A file changed in the cache, size and time kept, is not copied on as if it were right when hashed."""
    repo.sync(source, "d")
    victim = repo.fetch("d").path / "17"
    status = victim.stat()
    victim.chmod(0o644)
    victim.write_bytes(b"?" * status.st_size)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    own = repo.fetch("d", dest=tmp_path / "own", verify="full").path
    assert contents(own) == contents(source)
    assert ("17", "has different bytes") in repo.verify_folder("d", victim.parent).findings
