"""Repositories of DVC in small, written by hand: what each commit has of data, and where its bytes are."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import DataverError, IntegrityError, InvalidInput
from dataver.formats.entry import Kind
from dataver.importers import import_versions
from dataver.importers.dvc import DvcSource
from dataver.importers.dvc_files import artifacts, listed, locked, outputs
from dataver.importers.source import SourceFile, SourceVersion
from importers.git_repository import GitRepository


class DvcFolder(GitRepository):
    """A repository with a cache."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.write({".dvc/config": b"", ".gitignore": b"cache\nconfig.local\n"})
        self.cache = folder / ".dvc" / "cache"

    def keep(self, data: bytes, *, old: bool = False, end: str = "", folder: Path | None = None) -> str:
        """Put an object into the cache, or another folder; return its checksum."""
        text = data.replace(b"\r\n", b"\n") if old else data
        md5 = hashlib.md5(text).hexdigest() + end
        path = (folder or self.cache) / ("" if old else "files/md5") / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return md5

    def listing(self, files: Mapping[str, bytes], *, old: bool = False) -> str:
        """Put a folder into the cache; return its checksum."""
        rows = [{"md5": self.keep(data, old=old), "relpath": path} for path, data in sorted(files.items())]
        return self.keep(json.dumps(rows).encode(), old=old, end=".dir")

    def object(self, md5: str, *, old: bool = False) -> Path:
        """Return the path of an object."""
        return self.cache / ("" if old else "files/md5") / md5[:2] / md5[2:]


def pointer(path: str, md5: str, *, old: bool = False, **more: str) -> bytes:
    """Return a `.dvc` file."""
    lines = "".join(f"  {key}: {value}\n" for key, value in more.items())
    new = "" if old else "  hash: md5\n"
    return f"outs:\n- md5: {md5}\n  path: {path}\n{new}{lines}".encode()


@pytest.fixture
def made(tmp_path: Path) -> DvcFolder:
    return DvcFolder(tmp_path / "cats")


def versions(made: DvcFolder, **options: Any) -> list[SourceVersion]:
    source = DvcSource(str(made.folder), **options)
    found = list(source.versions())
    assert source.problems == []
    return found


def contents(version: SourceVersion) -> dict[str, bytes | str | None]:
    """Return the bytes of each file where it is, else the reason why it is missing."""
    return {
        file.path: Path(file.url).read_bytes()
        if file.url and "://" not in file.url
        else file.url or file.missing
        for file in version.files()
    }


def test_files_and_folders_of_each_commit_are_found_in_the_cache(made: DvcFolder) -> None:
    """One version for each change of the data, named after the repository, with the facts of git."""
    first = made.commit("one", {"a.csv.dvc": pointer("a.csv", made.keep(b"1"))})
    made.commit("code", {"train.py": b"1"})
    made.run("tag", "v1")
    folder = made.listing({"x": b"1", "sub/y": b"22"})
    second = made.commit("two", {"data/raw.dvc": pointer("raw", folder, nfiles="2")})
    third = made.commit(
        "three", {"a.csv.dvc": None, "b.csv.dvc": pointer("b.csv", made.keep(b"1"), isexec="true")}
    )
    one, two, three = versions(made)
    assert contents(one) == {"a.csv": b"1"}
    assert contents(two) == {"a.csv": b"1", "data/raw/x": b"1", "data/raw/sub/y": b"22"}
    assert contents(three) == {"b.csv": b"1", "data/raw/x": b"1", "data/raw/sub/y": b"22"}
    assert [each.key for each in (one, two, three)] == [first, second, third]
    assert (two.dataset, two.parents, two.message) == ("cats", (first,), "two")
    assert two.author == "Ana <ana@example.org>"
    assert (one.tags, two.metadata) == (("v1",), {"git_commit": second})
    kinds = {file.path: file.kind for file in three.files()}
    assert kinds["b.csv"] == Kind.EXECUTABLE
    (same,) = {file.content for file in three.files() if file.path in {"b.csv", "data/raw/x"}}
    assert same == f"md5:{hashlib.md5(b'1').hexdigest()}"


def test_both_layouts_are_read_each_with_its_checksum(made: DvcFolder) -> None:
    """DVC 2 hashed texts with Unix line ends and had no folder before its objects."""
    old = made.listing({"t.txt": b"a\r\nb\r\n"}, old=True)
    made.commit("old", {"d.dvc": pointer("d", old, old=True)})
    made.commit("new", {"d.dvc": pointer("d", made.listing({"t.txt": b"a\r\nb\r\n"}))})
    one, two = (list(each.files()) for each in versions(made))
    assert one[0].check == ("md5-dos2unix", hashlib.md5(b"a\nb\n").hexdigest())
    assert two[0].check == ("md5", hashlib.md5(b"a\r\nb\r\n").hexdigest())
    assert one[0].content != two[0].content
    assert one[0].url != two[0].url
    for file in (*one, *two):
        assert file.url is not None
        assert Path(file.url).read_bytes() == b"a\r\nb\r\n"


LOCK = """
schema: '2.0'
stages:
  make:
    cmd: echo "{dollar}" > x
    deps: [{{path: a.csv, md5: 00000000000000000000000000000000}}]
    outs:
    - {{path: out.csv, hash: md5, md5: {md5}, size: 1}}
    - {{path: metrics.json, hash: md5, md5: {md5}, size: 1}}
    - {{path: local.bin, hash: md5, md5: {other}, size: 1}}
    - {{path: stale.csv, hash: md5, md5: {md5}, size: 1}}
  each@no:
    cmd: x
    outs:
    - {{path: no.csv, hash: md5, md5: {md5}, size: 1}}
  gone:
    cmd: x
    outs: [{{path: gone.csv, hash: md5, md5: {md5}}}]
"""
STAGES = b"""
stages:
  make:
    cmd: echo
    wdir: sub
    outs: [out.csv, {local.bin: {push: false}}]
    metrics: [{metrics.json: {cache: false}}]
  each:
    foreach: [no, yes]
    do:
      cmd: x
      outs: ["${item}.csv"]
artifacts:
  model: {path: p/sub/out.csv, type: model, labels: [x]}
"""


def test_outputs_of_stages_are_those_that_dvc_keeps(made: DvcFolder) -> None:
    """In the folder of their stage; without files of git, and stages and outputs that are no more."""
    lock = LOCK.format(md5=made.keep(b"1"), other="1" * 32, dollar="${x}").encode()
    made.commit("one", {"p/dvc.lock": lock, "p/dvc.yaml": STAGES})
    (one,) = versions(made)
    assert contents(one) == {
        "p/sub/out.csv": b"1",
        "p/no.csv": b"1",
        "p/sub/local.bin": "it is not in the cache, and `push: false` keeps it out of remotes",
    }
    assert one.metadata["artifacts"] == {"model": {"path": "p/sub/out.csv", "type": "model"}}
    flat = b"\n".join(line[2:] for line in lock.splitlines()[3:])  # as DVC 1 wrote it
    found = [each.path for each in locked("dvc.lock", flat, STAGES)]
    assert found == ["sub/out.csv", "sub/local.bin", "no.csv"]


def test_names_that_look_like_other_values_are_texts() -> None:
    """`no` is not false, `1_0` no number."""
    for name in ("no", "1_0", "2020-01-01", "~", "1e3", "0x1f", "12:30"):
        (output,) = outputs("d.dvc", f"outs:\n- path: {name}\n  md5: {'1' * 32}\n".encode())
        assert (output.path, output.md5) == (name, "1" * 32)


CONFIG = """
[core]
    remote = Up
['remote "up"']
    url = s3://bucket/x/
    endpointurl = http://localhost:1
    region = eu-west-1
    acl = private
['remote "local"']
    url = ../store
['remote "below"']
    url = remote://up/sub
['remote "blue"']
    url = azure://container/x
"""


def test_objects_outside_the_cache_are_in_the_remote_of_their_output(made: DvcFolder) -> None:
    """Its options are those of the source's stores; a remote in a folder is looked at."""
    there = made.keep(b"1", folder=made.folder / ".dvc/store") and made.keep(
        b"1", folder=made.folder / "store"
    )
    files = {
        f"{name}.dvc": pointer(name, "1" * 32, **({"remote": name} if name != "up" else {}))
        for name in ("up", "local", "below", "blue", "none")
    }
    files["there.dvc"] = pointer("there", there, remote="local")
    files["old.dvc"] = pointer("old", "1" * 32, old=True)
    files["alone.dvc"] = pointer("alone", "1" * 32, push="false")
    made.commit("one", {".dvc/config": CONFIG.encode(), **files})
    made.write(
        {".dvc/config.local": b"['remote \"up\"']\n    access_key_id = me\n    secret_access_key = ss\n"}
    )
    source = DvcSource(str(made.folder))
    (one,) = source.versions()
    key = f"11/{'1' * 30}"
    found = contents(one)
    assert found.pop("local") == f"it is neither in the cache nor in {made.folder}/store"
    assert found.pop("none") == "it is not in the cache, and the remote none is not configured"
    assert found.pop("alone") == "it is not in the cache, and `push: false` keeps it out of remotes"
    assert found == {
        "up": f"s3://bucket/x/files/md5/{key}",
        "old": f"s3://bucket/x/{key}",
        "below": f"s3://bucket/x/sub/files/md5/{key}",
        "blue": f"az://container/x/files/md5/{key}",
        "there": b"1",
    }
    up = {"endpoint_url": "http://localhost:1", "region": "eu-west-1", "key": "me", "secret": "ss"}
    assert source.stores == {"s3://bucket/x": up, "s3://bucket/x/sub": up, "az://container/x": {}}


def test_remotes_in_a_circle_are_none(made: DvcFolder) -> None:
    """Each is defined by the other."""
    text = b"['remote \"a\"']\nurl = remote://b/x\n['remote \"b\"']\nurl = remote://a/x\n"
    made.commit("one", {"x.dvc": pointer("x", "1" * 32, remote="a"), ".dvc/config": text})
    (one,) = versions(made)
    assert contents(one) == {"x": "it is not in the cache, and the remote a is not configured"}


def test_the_cache_may_be_elsewhere(made: DvcFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the user's configuration, then by that of the repository, and its local one."""
    home = Path.home() / ".config" / "dvc"
    home.mkdir(parents=True)
    (home / "config").write_text("[cache]\n    dir = /nowhere\n", "utf-8")
    md5 = made.keep(b"1", folder=made.folder.parent / "shared")
    made.commit("one", {"x.dvc": pointer("x", md5), ".dvc/config": b"[cache]\n    dir = /nowhere/else\n"})
    made.write({".dvc/config.local": b"[cache]\n    dir = ../../shared\n"})
    (one,) = versions(made)
    assert contents(one) == {"x": b"1"}


CLOUD = b"""
outs:
- path: d
  files:
  - {relpath: a, md5: 11111111111111111111111111111111, size: 1, cloud: {up: {etag: e, version_id: v1}}}
  - {relpath: b/c, md5: 22222222222222222222222222222222, size: 1, cloud: {up: {etag: e, version_id: v2}}}
  hash: md5
- path: f
  md5: 33333333333333333333333333333333
  hash: md5
  cloud: {up: {etag: e, version_id: v3}}
"""
LINKED = b"""
frozen: true
deps:
- {path: "s3://other/d", files: [{relpath: a, size: 1, version_id: v4, etag: e}]}
outs:
- path: l
"""


def test_objects_with_names_and_versions_are_read_by_both(made: DvcFolder) -> None:
    """Of a remote with versions, and of a bucket that was imported without its bytes."""
    made.commit("one", {".dvc/config": CONFIG.encode(), "x/y.dvc": CLOUD, "l.dvc": LINKED})
    (one,) = versions(made)
    found = {file.path: (file.url, file.object_version, file.external) for file in one.files()}
    assert found == {
        "x/d/a": ("s3://bucket/x/x/d/a", "v1", False),
        "x/d/b/c": ("s3://bucket/x/x/d/b/c", "v2", False),
        "x/f": ("s3://bucket/x/x/f", "v3", False),
        "l/a": ("s3://other/d/a", "v4", True),
    }


def test_an_import_from_another_repository_says_where_its_bytes_are(made: DvcFolder) -> None:
    """No remote of this repository has them."""
    made.commit(
        "one",
        {
            ".dvc/config": CONFIG.encode(),
            "i.dvc": b"deps:\n- path: x\n  repo:\n    url: https://ana:secret@example.org/r\n"
            + pointer("i", "1" * 32),
        },
    )
    (one,) = versions(made)
    assert contents(one) == {
        "i": "it was imported from https://example.org/r, and is not in the cache; `dvc fetch` gets it"
    }


PARTIAL = {
    "data.dvc": b"deps: [{path: x, repo: {url: https://example.org/r, rev_lock: a}}]\nouts: [{path: data}]",
    "csv.dvc": b"deps: [{path: 'https://example.org/c', etag: e}]\nouts: [{path: csv}]",
    "local.dvc": b"deps: [{path: /data/x}]\nouts: [{path: local}]",
    "new.dvc": b"outs: [{path: new, hash: md5}]",
}


def test_data_without_a_checksum_is_named(made: DvcFolder) -> None:
    """The page of a repository is not its data, and what a URL has today is not what the commit had."""
    made.commit("one", PARTIAL)
    (one,) = versions(made)
    reason = "its commit has neither a checksum nor a version of it, so that its bytes are unknown"
    assert contents(one) == dict.fromkeys(("data", "csv", "local", "new"), reason)


def test_the_folder_of_a_stage_may_be_a_template(made: DvcFolder) -> None:
    """The items of a list are known; of others the outputs are named, since their folders are not."""
    stage = "  {0}:\n    foreach: {1}\n    do: {{wdir: {2}, cmd: x, outs: [m.pkl]}}\n"
    rows = (("a", "[us, uk]", "'in/${ item }'"), ("b", "{us: 1, uk: 2}", "'${key}'"))
    stages = "stages:\n" + "".join(stage.format(*row) for row in rows)
    lock = "schema: '2.0'\nstages:\n"
    for name in ("a@us", "a@uk", "b@us", "b@uk"):
        md5 = made.keep(name.encode())
        lock += f"  {name}:\n    cmd: x\n    outs: [{{path: m.pkl, hash: md5, md5: {md5}}}]\n"
    sha = made.commit("one", {"dvc.yaml": stages.encode(), "dvc.lock": lock.encode()})
    source = DvcSource(str(made.folder))
    (one,) = source.versions()
    assert contents(one) == {"in/us/m.pkl": b"a@us", "in/uk/m.pkl": b"a@uk"}
    reason = "the `wdir` of its stage is a template, whose value is unknown"
    assert source.problems == [(f"${{key}}/m.pkl at commit {sha[:10]}", reason)]


def test_only_data_below_the_path_counts(made: DvcFolder) -> None:
    """Commits that change other data are no versions, inside of one tracked folder, too."""
    x = pointer("x", made.keep(b"1"))
    first = made.commit("one", {"x.dvc": x, "d.dvc": pointer("d", made.listing({"s/a": b"1", "t": b"2"}))})
    made.commit("two", {"x.dvc": pointer("x", made.keep(b"2"))})
    made.commit("three", {"d.dvc": pointer("d", made.listing({"s/a": b"1", "t": b"3"}))})
    fourth = made.commit("four", {"d.dvc": pointer("d", made.listing({"s/a": b"1", "s/b": b"3"}))})
    found = versions(made, path="d/s", name="my cats")
    assert [each.key for each in found] == [first, fourth]
    assert [contents(each) for each in found] == [{"d/s/a": b"1"}, {"d/s/a": b"1", "d/s/b": b"3"}]
    assert found[0].dataset == "my-cats"
    assert len(versions(made, path="./d/s/")) == 2
    with pytest.raises(InvalidInput, match="at or below d/none"):
        versions(made, path="d/none")


def test_a_repository_below_that_of_git_has_paths_of_its_own(tmp_path: Path) -> None:
    """As DVC shows them."""
    made = DvcFolder(tmp_path / "mono")
    made.cache = made.folder / "p" / "cats" / ".dvc" / "cache"
    made.write({"p/cats/.dvc/config": b""})
    made.commit("one", {"p/cats/sub/x.dvc": pointer("x", made.keep(b"1")), "y.dvc": pointer("y", "1" * 32)})
    (one,) = DvcSource(str(made.folder / "p" / "cats" / "sub")).versions()
    assert (one.dataset, contents(one)) == ("cats", {"sub/x": b"1"})


def test_tags_of_gto_are_the_last_change_of_each(made: DvcFolder) -> None:
    """A stage moves, and "!" undoes a registration."""
    made.commit("one", {"x.dvc": pointer("x", made.keep(b"1"))})
    for tag in ("m@v1.0.0", "m#prod#1", "m#dev#2", "m@v0.9.0", "m@v0.9.0!#5", "release/1", "m@deprecated#7"):
        made.run("tag", tag)
    made.commit("two", {"x.dvc": pointer("x", made.keep(b"2"))})
    for tag in ("m@v1.1.0", "m#prod#3", "m#dev!#4"):
        made.run("tag", tag)
    one, two = versions(made)
    assert sorted(one.tags) == ["m-v1.0.0", "release/1"]
    assert sorted(two.tags) == ["m-prod", "m-v1.1.0"]


def test_an_empty_folder_is_one(made: DvcFolder) -> None:
    """As `dvc checkout` makes it."""
    made.commit("one", {"e.dvc": pointer("e", made.listing({}))})
    (one,) = versions(made)
    assert list(one.files()) == [SourceFile("e", "", kind=Kind.DIRECTORY)]


def test_damage_is_reported_and_loses_nothing_else(made: DvcFolder) -> None:
    """A cut pointer, a listing that is missing or changed, an output outside."""
    good = made.keep(b"1")
    gone, changed = made.listing({"a": b"1"}), made.listing({"b": b"1"})
    made.object(gone).unlink()
    made.object(changed).write_bytes(b"[]")
    broken = {
        "cut.dvc": pointer("cut", good)[:20],
        "yaml.dvc": b"outs:\n<<<<<<< HEAD\n- {",
        "gone.dvc": pointer("gone", gone),
        "changed.dvc": pointer("changed", changed),
        "outside.dvc": pointer("../../etc/passwd", good),
        "bucket.dvc": pointer("s3://bucket/x", good),
    }
    sha = made.commit("one", {"x.dvc": pointer("x", good), **broken})
    source = DvcSource(str(made.folder))
    (one,) = source.versions()
    assert contents(one) == {
        "x": b"1",
        "gone": "it is not in the cache, and the remote (default) is not configured",
        "changed": f"the listing {changed} is damaged: it has another checksum.",
    }
    reasons = {name.removesuffix(f" at commit {sha[:10]}"): reason for name, reason in source.problems}
    assert reasons == {
        "cut.dvc": "cut.dvc is damaged: its structure is not that of DVC.",
        "yaml.dvc": "yaml.dvc is damaged: could not find expected ':'.",
        "../../etc/passwd": "it is outside of the repository",
        "s3://bucket/x": "it is outside of the repository",
    }


_LETTERS = "bcdefghijklmnopqrstuvwxyz"
BOMB = "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise(_LETTERS)
).encode()  # two to nine of each, nested
HOSTILE = [
    b"\xff\xfa",
    b"- a",
    b"outs: 1",
    b"outs: [1]",
    b"outs: [{path: [x], md5: 1}]",
    b"outs: [{md5: 11111111111111111111111111111111}]",
    b"outs: [{path: x, md5: ../../../etc/passwd}]",
    b"outs: [{path: x, files: 3}]",
    b"outs: [{path: x, files: [{relpath: 1, md5: [1]}]}]",
    b"outs: [{path: x, cloud: [1]}]",
    b"deps: [{repo: 1}]\nouts: [{path: x}]",
    b"[" * 100_000,
    b"wdir: [1]\nouts: [{path: x}]",
    b"a: &a [x]\nouts: *b",
    b"a: &a [x]\nb: &b [*a, *a]\n" + BOMB + b"outs: [{path: *z}]",
    b"a: &a [x]\nb: &b [*a, *a]\n" + BOMB + b"outs: [{path: x, size: *z}]",
    b"!!python/object/apply:os.system [ls]",
    b"? [a]\n: b",
]


@pytest.mark.parametrize("data", HOSTILE)
def test_a_hostile_pointer_is_an_error(data: bytes) -> None:
    """One of ours, and nothing of it is run."""
    with pytest.raises(IntegrityError):
        outputs("x.dvc", data)


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_stages_are_an_error(data: bytes) -> None:
    """Of `dvc.lock` as of `dvc.yaml`."""
    nested = b"stages:\n  a:\n    outs: " + data.replace(b"\n", b"\n    ")
    lock = b"schema: '2.0'\nstages: {a: {outs: [{path: x}]}}"
    for first, second in ((nested, b""), (b"schema: 1\n" + nested, b""), (lock, nested), (lock, data)):
        with suppress(IntegrityError):
            locked("dvc.lock", first, second)
    artifacts(b"artifacts: " + data)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b'[{"md5": 1}]', b'[{"relpath": "a", "md5": "x"}]', b"[" * 10**5]
)
def test_a_hostile_listing_is_an_error(data: bytes) -> None:
    """Also with the checksum that it should have."""
    with pytest.raises(IntegrityError):
        listed(hashlib.md5(data).hexdigest() + ".dir", data)


@pytest.mark.parametrize("text", [b"core", b"[core\n", b"['remote \"x\"']\nurl", b"\xff\n"])
def test_a_malformed_configuration_is_an_error(made: DvcFolder, text: bytes) -> None:
    """With a sentence."""
    made.commit("one", {"x.dvc": pointer("x", "1" * 32), ".dvc/config": text})
    with pytest.raises(DataverError):
        list(DvcSource(str(made.folder)).versions())


def test_a_shallow_clone_says_what_it_lacks(made: DvcFolder, tmp_path: Path) -> None:
    """Its commits are imported, and the others are named."""
    for number in (b"1", b"2"):
        made.commit("one", {"x.dvc": pointer("x", made.keep(number))})
    made.run("clone", "-q", "--depth=1", f"file://{made.folder}", str(tmp_path / "shallow"))
    source = DvcSource(str(tmp_path / "shallow"))
    assert len(list(source.versions())) == 1
    (problem,) = source.problems
    assert problem[0] == "history"
    assert "git fetch --unshallow" in problem[1]


def test_a_repository_without_dvc_is_refused(made: DvcFolder) -> None:
    """It is likely the wrong folder."""
    made.commit("one", {"x": b"1"})
    with pytest.raises(InvalidInput, match="DVC tracks nothing"):
        list(DvcSource(str(made.folder)).versions())


def test_a_history_is_imported_once(made: DvcFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object is verified, damage is left out and reported, and only new commits are read next time."""
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repository")
    bad = made.keep(b"bad")
    made.object(bad).write_bytes(b"BAD")
    made.commit("one", {"x.dvc": pointer("x", made.keep(b"1")), "bad.dvc": pointer("bad", bad)})
    report = import_versions(repo, DvcSource(str(made.folder)))
    assert [name for name, _ in report.problems] == ["bad in cats@1.0.0"]
    made.commit("two", {"x.dvc": pointer("x", made.keep(b"2"))})
    again = import_versions(repo, DvcSource(str(made.folder)))
    assert ([each.ref for each in again.versions], again.known) == (["cats@1.0.1"], 1)
    assert repo.version("cats@1.0.0").read("x") == b"1"
    assert repo.version("cats").read("x") == b"2"
    assert repo.version("cats").message == "two"
    nothing = import_versions(repo, DvcSource(str(made.folder)))
    assert (nothing.versions, nothing.known) == ([], 2)
