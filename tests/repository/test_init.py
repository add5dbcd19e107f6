"""Making a repository: once, in a place of its own, with what the store can do written down."""

import json
import random
import threading
from pathlib import Path

import pytest

import dataver
from dataver.errors import AlreadyExists, FormatTooNew, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.formats.config import parse_config
from dataver.repository.create_once import Outcome, create_once
from dataver.storage import MemoryStore
from dataver.testing.faulty import Fault, FaultyStore


def test_a_new_repository_is_one_small_file(tmp_path):
    """`dataver.json` holds everything that writers agree on; the probe leaves nothing."""
    repo = dataver.init(tmp_path / "a" / "repo")
    assert [path.name for path in (tmp_path / "a" / "repo").rglob("*") if path.is_file()] == ["dataver.json"]
    config = parse_config((tmp_path / "a" / "repo" / "dataver.json").read_bytes())
    assert config.create_if_absent
    assert (config.chunking.minimum, config.chunking.average, config.chunking.maximum) == (4096, 16384, 65536)
    assert config.id == repo.id == dataver.open(tmp_path / "a" / "repo").id
    assert repo.datasets() == []


def test_a_second_init_is_refused_and_changes_nothing(tmp_path):
    """The first repository stays, with its id."""
    first = dataver.init(tmp_path / "repo")
    before = (tmp_path / "repo" / "dataver.json").read_bytes()
    with pytest.raises(AlreadyExists, match="is a dataver repository already"):
        dataver.init(tmp_path / "repo", chunk_size=65536)
    assert (tmp_path / "repo" / "dataver.json").read_bytes() == before
    assert dataver.open(tmp_path / "repo").id == first.id


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    """A repository does not mix with somebody's files; hidden ones, such as `.git`, do not count."""
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        (tmp_path / "photos" / name).write_text(name)
    with pytest.raises(InvalidInput, match=r"contains other files \(a\.jpg, b\.jpg, c\.jpg …\)") as caught:
        dataver.init(tmp_path / "photos")
    assert "dataver-repository" in caught.value.hint
    assert len(list((tmp_path / "photos").iterdir())) == 4
    (tmp_path / "hidden" / ".git").mkdir(parents=True)
    assert dataver.init(tmp_path / "hidden").id


def test_a_file_at_the_place_is_an_error(tmp_path):
    """A file is not taken for a folder, neither by init nor by open, and is not touched."""
    (tmp_path / "file").write_text("mine")
    for call in (dataver.init, dataver.open):
        with pytest.raises((StoreError, InvalidInput, NotFound), match="file"):
            call(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("size", [0, -1, 1000, 16385, 128, 8 * 1024 * 1024])
def test_a_chunk_size_that_cannot_be_one_is_refused_before_anything_is_made(tmp_path, size):
    """A power of two from 256 B to 4 MiB."""
    with pytest.raises(InvalidInput, match="power of two"):
        dataver.init(tmp_path / "repo", chunk_size=size)
    assert not (tmp_path / "repo" / "dataver.json").exists()


def test_the_chunk_size_decides_where_files_are_cut(tmp_path):
    """Larger chunks make fewer of them, for everybody who opens the repository later."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(random.Random(1).randbytes(2_000_000))
    counts = []
    for size in (4096, 65536):
        dataver.init(tmp_path / str(size), chunk_size=size)
        repo = dataver.open(tmp_path / str(size))
        assert repo._core.config.chunking.average == size
        counts.append(repo.sync(tmp_path / "source", "d").add.new_chunks)
    assert 300 < counts[0] < 700
    assert 18 < counts[1] < 45


def test_of_racing_inits_one_makes_the_repository(tmp_path):
    """Six threads at once: one repository, and five that are told."""
    start = threading.Barrier(6)
    made, told, other = [], [], []

    def run():
        start.wait()
        try:
            made.append(dataver.init(tmp_path / "repo").id)
        except AlreadyExists as error:
            told.append(error)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            other.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other == []
    assert (len(made), len(told)) == (1, 5)
    assert dataver.open(tmp_path / "repo").id == made[0]


def test_a_repository_whose_reply_was_lost_is_ours():
    """The write id in `dataver.json` makes it recognisable."""
    store = FaultyStore(MemoryStore(), {1: Fault.REPLY_LOST})
    assert create_once(store, "dataver.json", b"{}") is Outcome.WON


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff\xff", b"{}", b'{"format": 1}', b"0" * 100_000]
)
def test_a_damaged_configuration_is_an_integrity_error(tmp_path, data):
    """What is no configuration is not guessed at."""
    dataver.init(tmp_path / "repo")
    (tmp_path / "repo" / "dataver.json").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"dataver\.json"):
        dataver.open(tmp_path / "repo")


def test_a_newer_format_is_refused_with_both_numbers_before_anything_else_is_read(tmp_path):
    """The number decides, whatever else a newer dataver put there; the hint is to upgrade."""
    dataver.init(tmp_path / "repo")
    path = tmp_path / "repo" / "dataver.json"
    values = json.loads(path.read_bytes()) | {"format": 3, "chunking": "another way", "new": {"x": 1}}
    path.write_text(json.dumps(values))
    with pytest.raises(FormatTooNew, match=r"3.*2") as caught:
        dataver.open(tmp_path / "repo")
    assert "dataver" in caught.value.hint
    with pytest.raises(AlreadyExists):
        dataver.init(tmp_path / "repo")


@pytest.mark.parametrize(
    "page", [b"<!doctype html><html><h1>Sign in</h1></html>", b"\n <?xml version='1.0'?>"]
)
def test_a_server_that_answers_web_pages_is_no_repository(tmp_path, page):
    """A wrong endpoint that answers everything: it is neither used nor called a repository already."""
    (tmp_path / "dataver.json").write_bytes(page)
    for call in (dataver.init, dataver.open):
        with pytest.raises(IntegrityError, match="returns a web page") as caught:
            call(tmp_path)
        assert "endpoint_url" in caught.value.hint


def test_a_damaged_configuration_is_no_repository_to_use_as_it_is(tmp_path):
    """`init` and `open` say that it is damaged, and `init` writes nothing in its place."""
    place = tmp_path / "repo"
    dataver.init(place)
    path = place / "dataver.json"
    path.write_bytes(path.read_bytes()[:-20])
    for call in (dataver.init, dataver.open):
        with pytest.raises(IntegrityError, match=r"dataver\.json in .* is damaged"):
            call(place)
    assert len(path.read_bytes()) > 20


@pytest.mark.parametrize("url", ["s3:/bucket/repo", "s3//bucket", "file://repo", "$HOME/repo"])
def test_a_mistyped_url_creates_no_folder(url):
    """`dataver.init` and `dataver.open` refuse it, as the command line does."""
    for call in (dataver.init, dataver.open):
        with pytest.raises(InvalidInput):
            call(url)
    assert list(Path.cwd().iterdir()) == []


def test_a_path_is_never_a_mistyped_url():
    """A `Path` names a folder, whatever its name."""
    assert dataver.init(Path("s3:/repo")).url == str(Path.cwd() / "s3:/repo")
    assert dataver.open(Path("s3:/repo")).id
