"""What only this file system has: names of versions, read-only manners, what it keeps to itself."""

import errno
import io
import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

import dataver
from dataver.fs import DataverFileSystem
from servers import Server

from .conftest import Publish


@pytest.fixture
def two(machine: Path, repo: dataver.Repository, publish: Publish) -> Path:
    """Versions 1.0.0 (tagged production) and 1.0.1 of `some/data`, and one of `other`; their folder."""
    folder = machine / "folder"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "a@b.txt").write_text("one\n")
    publish(folder)
    repo.tag("some/data@1.0.0", "production")
    (folder / "train" / "a@b.txt").write_text("two\n")
    publish(folder)
    repo.sync(folder / "train", "other", workspace=machine / "work")
    return folder


def test_names_of_versions_are_folders(two: Path, fs: DataverFileSystem) -> None:
    """Datasets' names make folders; in them lie versions."""
    assert fs.ls("", detail=False) == ["other@1.0.0", "some"]
    assert fs.ls("dataver://some/", detail=False) == ["some/data@1.0.0", "some/data@1.0.1"]
    assert fs.ls("dataver://some/data@1.0.0", detail=False) == ["some/data@1.0.0/train"]
    assert fs.info("some")["type"] == fs.info("")["type"] == fs.info("some/data@1.0.0")["type"] == "directory"
    assert fs.glob("some/data@*/train/*") == [
        "some/data@1.0.0/train/a@b.txt",
        "some/data@1.0.1/train/a@b.txt",
    ]
    assert fs.find("")[0] == "other@1.0.0/a@b.txt"


def test_every_name_of_a_version_reads_it(two: Path, fs: DataverFileSystem, repo: dataver.Repository) -> None:
    """Label, tag, latest, digest, its beginning, and the digest behind a name."""
    digest = repo.version("some/data@1.0.0").digest
    for name in (
        "some/data@1.0.0",
        "some/data@production",
        digest,
        digest[:16],
        f"some/data@{digest}",
    ):
        assert fs.cat_file(f"dataver://{name}/train/a@b.txt") == b"one\n"
    assert fs.cat_file("some/data@latest/train/a@b.txt") == b"two\n"
    assert fs.created("some/data@1.0.0/train") == repo.version("some/data@1.0.0").created


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("some/data/train/a@b.txt", "no dataset 'some/data/train/a'"),
        ("some/data/train", "some/data@1.0.1/train"),
        ("some/date@1.0.0/x", "did you mean some/data"),
        ("some/data@9.0.0/x", "no version or tag '9.0.0'"),
        ("some/data@1.0.0/train/c", "no 'train/c'"),
        ("Some Data@1/x", "has the character ' '"),
        ("dv1:zz/x", "not a digest"),
        ("nothing", "no dataset 'nothing'"),
    ],
)
def test_what_names_nothing_says_what_would(two: Path, fs: DataverFileSystem, path: str, said: str) -> None:
    """A path that is not there is a FileNotFoundError with a sentence that helps."""
    assert not fs.exists(path)
    with pytest.raises(FileNotFoundError) as caught:
        fs.open(path)
    assert said in str(caught.value)


def test_nothing_is_ever_written(two: Path, fs: DataverFileSystem) -> None:
    """Every way to write ends in the error of a read-only file system, and says what to do instead."""
    path = "some/data@1.0.0/train/a@b.txt"
    for write in (
        *(lambda mode=mode: fs.open(path, mode) for mode in ("wb", "ab", "xb", "r+b", "w")),
        lambda: fs.rm(path),
        lambda: fs.rm("some/data@1.0.0", recursive=True),
        lambda: fs.rm_file(path),
        lambda: fs.rmdir("some/data@1.0.0/train"),
        lambda: fs.mkdir("some/data@1.0.0/x"),
        lambda: fs.makedirs("some/data@1.0.0/x", exist_ok=True),
        lambda: fs.touch(path),
        lambda: fs.pipe(path, b"x"),
        lambda: fs.pipe_file(path, b"x"),
        lambda: fs.put(str(two), "some/data@1.0.0/x", recursive=True),
        lambda: fs.put_file(str(two), "some/data@1.0.0/x"),
        lambda: fs.cp(path, "some/data@1.0.0/x"),
        lambda: fs.mv(path, "some/data@1.0.0/x"),
        lambda: fs.write_text(path, "x"),
    ):
        with pytest.raises(OSError, match="draft") as caught:
            write()
        assert caught.value.errno == errno.EROFS
    assert fs.cat_file(path) == b"one\n"


def test_one_program_reads_one_version_of_a_tag(
    two: Path, fs: DataverFileSystem, repo: dataver.Repository
) -> None:
    """A tag that moves meanwhile changes nothing until names are looked up anew, not even in a copy."""
    path = "some/data@production/train/a@b.txt"
    assert fs.cat_file(path) == b"one\n"
    before = pickle.dumps(fs)
    repo.tag("some/data@1.0.1", "production")
    assert fs.cat_file(path) == DataverFileSystem(repo=repo.url).cat_file(path) == b"one\n"
    fs.invalidate_cache()
    assert fs.cat_file(path) == b"two\n"
    done = subprocess.run(
        [sys.executable, "-c", f"import pickle; print(pickle.loads({before!r}).cat_file({path!r}))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{b'one' + bytes([10])!r}\n"


def test_the_repository_is_the_configured_one(
    two: Path, repo: dataver.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `repo` it is what `dataver.open()` opens."""
    monkeypatch.setenv("DATAVER_REPO", repo.url)
    DataverFileSystem.clear_instance_cache()
    fsspec.register_implementation("dataver", DataverFileSystem, clobber=True)
    with fsspec.open("dataver://some/data@1.0.0/train/a@b.txt", "rt") as file:
        assert file.read() == "one\n"
    assert fsspec.filesystem("dataver").fsid == f"dataver-{repo._core.local_name}"
    with pytest.raises(ValueError, match="not a repository"):
        DataverFileSystem(repo="dataver://some/data@1.0.0").ls("")
    DataverFileSystem.clear_instance_cache()


@pytest.mark.parametrize("question", ["exists", "lexists", "isfile", "isdir", "info", "ls", "find", "glob"])
def test_a_repository_that_cannot_be_opened_is_no_answer(
    two: Path, repo: dataver.Repository, machine: Path, question: str
) -> None:
    """Questions about paths raise where there is no repository, or it refuses an option; none says no."""
    for path in ("", "some/data", "some/data@1.0.0", "some/data@1.0.0/train"):
        pattern = f"{path}/*" if question == "glob" else path
        with pytest.raises(dataver.NotFound, match="not a dataver repository") as missing:
            getattr(DataverFileSystem(repo=machine / "gone"), question)(pattern)
        assert not isinstance(missing.value, FileNotFoundError)
        with pytest.raises(dataver.InvalidInput, match="profile"):
            getattr(DataverFileSystem(repo=repo.url, profile="lab"), question)(pattern)


_PASSED = {
    "block_size": 8192,
    "cache_type": "readahead",
    "cache_options": {"maxblocks": 3},
    "default_block_size": 1,
    "default_cache_type": "none",
    "default_fill_cache": False,
    "client_kwargs": {"requote_redirect_url": False, "trust_env": True},
}


def test_options_of_any_file_system_are_taken(two: Path, repo: dataver.Repository) -> None:
    """Options that fsspec and its users pass to every file system do not reach the repository's store."""
    with fsspec.open("dataver://some/data@1.0.0/train/a@b.txt", repo=repo.url, **_PASSED) as file:
        assert file.read() == b"one\n"


@pytest.mark.servers
def test_options_of_any_file_system_are_taken_with_a_bucket(moto_server: Server, machine: Path) -> None:
    """The words of `client_kwargs` that no bucket's client knows are dropped, the others are kept."""
    url = moto_server.url(f"fs-{os.urandom(4).hex()}")
    (machine / "folder").mkdir()
    (machine / "folder" / "f").write_text("over the net\n")
    dataver.init(url, storage_options=moto_server.options).sync(
        machine / "folder", "d", workspace=machine / "work"
    )
    words = {**_PASSED["client_kwargs"], "region_name": "us-east-1"}
    for given in (_PASSED, _PASSED | {"client_kwargs": words}):
        fs = fsspec.filesystem("dataver", repo=url, **(given | moto_server.options))
        assert fs.cat_file("d@1.0.0/f") == b"over the net\n"


def test_it_is_announced_to_fsspec() -> None:
    """Whoever installs dataver can say `dataver://`, without importing it."""
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert tomllib.loads(text)["project"]["entry-points"]["fsspec.specs"] == {
        "dataver": "dataver.fs:DataverFileSystem"
    }


def test_contents_have_keys(two: Path, fs: DataverFileSystem) -> None:
    """`ukey` and `checksum` follow the content, whatever version it is read by."""
    one, other = "some/data@1.0.0/train/a@b.txt", "some/data@1.0.1/train/a@b.txt"
    assert fs.ukey(one) == fs.ukey("some/data@production/train/a@b.txt") == fs.info(one)["digest"]
    assert fs.ukey(one) != fs.ukey(other) == fs.ukey("other@1.0.0/a@b.txt")
    assert fs.checksum(one) != fs.checksum(other)
    assert fs.ukey("some/data@1.0.0/train") != fs.ukey("some/data@1.0.1/train")


def test_what_fails_among_many_is_told_by_itself(two: Path, fs: DataverFileSystem) -> None:
    """`cat` and `cat_ranges` give the others, and the error of the one, as they were asked to."""
    good, bad = "some/data@1.0.0/train/a@b.txt", "some/data@1.0.0/gone"
    found = fs.cat_ranges([good, bad, good], [0, 0, 1], [2, 2, 3])
    assert (found[0], found[2]) == (b"on", b"ne")
    assert isinstance(found[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([good, bad], 0, 1, on_error="raise")
    assert set(fs.cat([good, bad], on_error="omit")) == {good}
    assert isinstance(fs.cat([good, bad], on_error="return")[bad], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat([good, bad])
    assert fs.cat("some/data@1.0.0", recursive=True) == {good: b"one\n"}


def test_an_open_file_can_be_pickled(two: Path, fs: DataverFileSystem, repo: dataver.Repository) -> None:
    """It is opened anew at its position, from the repository and from a fetched folder."""
    for _ in range(2):
        with fs.open("some/data@1.0.0/train/a@b.txt") as file:
            file.seek(2)
            copy = pickle.loads(pickle.dumps(file))
            assert (copy.read(), copy.size, copy.full_name) == (
                b"e\n",
                4,
                "dataver://some/data@1.0.0/train/a@b.txt",
            )
            assert isinstance(file, io.BufferedIOBase)
            assert file.info()["size"] == 4
            copy.close()
        dataver.fetch("some/data@1.0.0", repo=repo)
        fs.invalidate_cache()


# fsspec's MMapCache leaves the file of its blocks open
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fetched", [False, True])
def test_block_caches_of_fsspec_read_through_it(
    machine: Path, repo: dataver.Repository, publish: Publish, fetched: bool
) -> None:
    """`blockcache::` asks an open file for ranges, and keeps the blocks."""
    data = random.Random(1).randbytes(300_000)
    (machine / "folder").mkdir()
    (machine / "folder" / "f").write_bytes(data)
    ref = publish(machine / "folder")
    if fetched:
        dataver.fetch(ref, repo=repo)
    url, kept = f"blockcache::dataver://{ref}/f", {"cache_storage": str(machine / "blocks")}
    for _ in range(2):
        with fsspec.open(url, dataver={"repo": repo.url, "block_size": 4096}, blockcache=kept) as file:
            for start, size in ((100, 5), (299_990, 100), (0, 70_000), (150_000, -1)):
                file.seek(start)
                assert file.read(size) == data[start:][: size if size >= 0 else None]
        assert file.closed


@pytest.mark.servers
def test_secrets_stay_in_the_process(moto_server: Server, machine: Path) -> None:
    """Pickles and JSON hold none; a copy in this process reads on, another process uses its environment."""
    url = moto_server.url(f"fs-{os.urandom(4).hex()}")
    options = {**moto_server.options}
    secret = options.setdefault("secret", moto_server.environment["AWS_SECRET_ACCESS_KEY"])
    options.setdefault("key", moto_server.environment["AWS_ACCESS_KEY_ID"])
    (machine / "folder").mkdir()
    (machine / "folder" / "f").write_text("over the net\n")
    repo = dataver.init(url, storage_options=options)
    repo.sync(machine / "folder", "d", workspace=machine / "work")
    fs = DataverFileSystem(repo=url, **options)
    assert fs.cat_file("d@1.0.0/f") == b"over the net\n"
    files = repo.files("d@1.0.0")
    for packed in (
        pickle.dumps(fs),
        fs.to_json().encode(),
        pickle.dumps(files),
        pickle.dumps(fs.open("d@1.0.0/f")),
    ):
        assert secret.encode() not in packed
        assert b"over the net" not in packed
    assert "secret" not in json.loads(fs.to_json())
    assert pickle.loads(pickle.dumps(fs)).cat_file("d@1.0.0/f") == b"over the net\n"
    assert pickle.loads(pickle.dumps(files)).read("f") == b"over the net\n"
    code = (
        f"import pickle; print(pickle.loads({pickle.dumps(fs)!r}).cat_file('d@1.0.0/f'),"
        f" pickle.loads({pickle.dumps(files)!r}).read('f'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **moto_server.environment},
    )
    assert done.stdout.count("over the net") == 2
