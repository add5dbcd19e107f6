"""What a repository made by an enemy cannot do, and what a strange one must not break."""

import os
import unicodedata

import pytest

from dataver.checkout.folder import Folder
from dataver.checkout.materialise import fill as write_entries
from dataver.checkout.materialise import parts_of
from dataver.checkout.selection import FetchRequest, folding_of, survey
from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.entry import Entry, Extent, Kind, safe_link
from dataver.hashing import digest
from dataver.progress import SILENT
from dataver.tree import Selection

from .conftest import contents, write


@pytest.fixture
def inside(tmp_path):
    """A folder to fill, in a folder where nothing else may appear."""
    (tmp_path / "jail").mkdir()
    return tmp_path / "jail" / "filled"


@pytest.fixture
def stored(world):
    """A repository with one stored file of 300,000 bytes, and its entry."""
    write(world.source / "good", os.urandom(300_000))
    return world.repo, world.version().entry("good")


def fill(repo, path, entries):
    with Folder(path, writable=True) as folder:
        return write_entries(repo._core, parts_of(entries), folder, (), SILENT)


def empty(path, kind=Kind.FILE, target=""):
    return Entry(path, kind, 0, digest(b"") if kind <= Kind.EXECUTABLE else b"", target, ())


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/x",
        "a/../../x",
        "a//b",
        ".",
        "..",
        "a/.",
        "",
        "a\0b",
        "a\nb",
        "a\\b",
        ".dataver/x",
        ".git/config",
    ],
)
def test_a_path_that_leads_out_is_refused_at_the_write(stored, inside, path):
    """Paths are checked again where they are written, whatever a parser let through."""
    with pytest.raises(IntegrityError, match="refused"):
        fill(stored[0], inside, [stored[1]._replace(path=path)])
    assert [p.name for p in inside.parent.iterdir()] == ["filled"]
    assert contents(inside) == {}


@pytest.mark.parametrize(
    ("path", "target", "good"),
    [
        ("a/link", "../b", True),
        ("link", "b/c", True),
        ("a/b/link", "../../c", True),
        ("link", "../b", False),
        ("a/link", "../../b", False),
        ("link", "/etc/passwd", False),
        ("link", "a/../../b", False),
        ("link", "a/..", False),
        ("link", "", False),
        ("link", "./b", True),
    ],
)
def test_links_stay_inside(path, target, good):
    """A link is made only where it cannot lead out, whatever else the version holds."""
    assert safe_link(path, target) is good


def test_links_that_lead_out_are_left_out_and_reported(stored, inside):
    """The rest of the version is there, and the report names what is not."""
    entries = [
        empty("a/link", Kind.SYMLINK, "../../../secret"),
        stored[1]._replace(path="b"),
        empty("c", Kind.SYMLINK, "b"),
    ]
    filled = fill(stored[0], inside, entries)
    assert [path for path, _ in filled.problems] == ["a/link"]
    assert sorted(contents(inside)) == ["a", "b", "c"]


@pytest.mark.parametrize("clash", [("a", "a/b"), ("a", "a-", "a/b")])
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SYMLINK, Kind.DIRECTORY])
def test_a_file_and_a_folder_of_one_name_are_an_error(stored, inside, clash, kind):
    """A link or a file where a folder is needed: nothing is written through it."""
    outside = inside.parent / "outside"
    outside.mkdir()
    entries = [empty(clash[0], kind, str(outside) if kind == Kind.SYMLINK else "")]
    entries += [stored[1]._replace(path=path) for path in clash[1:]]
    if kind == Kind.SYMLINK:
        entries[0] = entries[0]._replace(target="outside")
    with pytest.raises(IntegrityError, match="another entry in its place"):
        fill(stored[0], inside, entries)
    assert list(outside.iterdir()) == []


def test_wrong_bytes_never_get_through(stored, inside):
    """Extents that give other bytes than the digest says are an error, small or large, one piece or many."""
    repo, good = stored
    with pytest.raises(IntegrityError, match="'wrong'"):
        fill(repo, inside, [good._replace(path="wrong", digest=bytes(32))])
    extent = good.extents[0]
    parts = (
        extent._replace(length=1000),
        extent._replace(skip=extent.skip + 1000, length=extent.length - 1000),
    )
    rest = good.extents[1:]
    swapped = good._replace(path="wrong", extents=(*reversed(parts), *rest))
    with pytest.raises(IntegrityError, match="'wrong'"):
        fill(repo, inside.with_name("second"), [swapped])
    fill(repo, inside.with_name("third"), [good._replace(extents=(*parts, *rest))])
    assert digest((inside.with_name("third") / "good").read_bytes()) == good.digest


@pytest.mark.parametrize(
    "spoil",
    [
        lambda e: e._replace(offset=e.offset + 1),
        lambda e: e._replace(skip=2**31),
        lambda e: e._replace(stored=24),
        lambda e: e._replace(offset=2**31),
        lambda e: e._replace(stored=e.stored - 1),
        lambda e: e._replace(pack=bytes(32)),
    ],
)
def test_extents_that_do_not_fit_are_integrity_errors(stored, inside, spoil):
    """Offsets and lengths from a hostile layout raise our error, not an accident."""
    repo, good = stored
    with pytest.raises(IntegrityError):
        fill(repo, inside, [good._replace(extents=(spoil(good.extents[0]), *good.extents[1:]))])


def test_an_empty_file_with_a_digest_of_something_is_an_error(stored, inside):
    """Even a file without bytes is compared with its digest."""
    with pytest.raises(IntegrityError, match="'e'"):
        fill(stored[0], inside, [Entry("e", Kind.FILE, 0, bytes(32), "", ())])


def test_a_path_of_4096_bytes_is_written_and_read_back(world):
    """Paths longer than the system takes at once are walked."""
    parts = ["d" * 200] * 20
    path = "/".join([*parts, "f" * (4096 - len("/".join(parts)) - 1)])
    assert len(path) == 4096
    write(world.source / "good", b"content")
    entry = world.version().entry("good")._replace(path=path)
    jail = world.root / "long"
    with Folder(jail, writable=False) as folder:
        write_entries(world.repo._core, parts_of([entry]), folder, (), SILENT)
        folder.seal()
        here = os.dup(folder.fd)
        for part in path.split("/")[:-1]:
            below = os.open(part, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        fd = os.open(path.split("/")[-1], os.O_RDONLY, dir_fd=here)
        assert os.read(fd, 100) == b"content"
        os.close(fd)
        os.close(here)
    from dataver.machine.deep_folders import remove_folder

    remove_folder(jail)
    assert not jail.exists()


def test_names_that_the_file_system_takes_for_one_are_refused(world):
    """Two names equal but for case or Unicode form, of files or of folders, are named before any write."""
    write(world.source / "Readme", "1")
    write(world.source / "readme", "2")
    tree = world.version().tree.digest
    with pytest.raises(InvalidInput, match="'Readme' and 'readme' are the same name"):
        survey(FetchRequest(world.repo._core, tree), str.casefold)
    assert survey(FetchRequest(world.repo._core, tree), None).files == 2
    write(world.source / "readme", "2")
    for name in ("Readme", "readme"):
        (world.source / name).unlink()
        write(world.source / name.replace("eadme", "x") / name, "1")
    with pytest.raises(InvalidInput, match="'Rx' and 'rx'"):
        survey(FetchRequest(world.repo._core, world.version().tree.digest), str.casefold)
    accent = unicodedata.normalize("NFD", "caf\u00e9")
    write(world.source / accent, "1")
    write(world.source / "caf\u00e9", "2")
    tree = world.version().tree.digest
    with pytest.raises(InvalidInput, match="the same name"):
        survey(
            FetchRequest(world.repo._core, tree, Selection(("caf*",))),
            lambda path: unicodedata.normalize("NFC", path),
        )


def test_this_file_system_is_probed_without_a_trace(tmp_path):
    """The probe tells an ordinary Linux folder as exact and leaves nothing."""
    assert folding_of(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_many_files_of_one_content_share_one_stored_copy(stored, inside):
    """Deduplicated files decode from the same frames, also over more bytes than one range may make."""
    repo, good = stored
    entries = [good._replace(path=f"{number:03d}") for number in range(150)]
    filled = fill(repo, inside, entries)
    assert {digest(path.read_bytes()) for path in inside.iterdir()} == {good.digest}
    assert filled.transferred < 5 * 300_000
    assert len(list(inside.iterdir())) == 150


def test_an_extent_need_not_be_long(stored, inside):
    """Files cut into one-byte extents come back, too."""
    repo, good = stored
    extent: Extent = good.extents[0]
    pieces = tuple(extent._replace(skip=extent.skip + at, length=1) for at in range(50))
    data = b"".join(_bytes_of(repo, good)[at : at + 1] for at in range(50))
    fill(repo, inside, [Entry("cut", Kind.FILE, 50, digest(data), "", pieces)])
    assert (inside / "cut").read_bytes() == data


def _bytes_of(repo, entry):
    from dataver.checkout import read_file

    return b"".join(read_file(repo._core, entry))
