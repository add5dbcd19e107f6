"""Packs are read through once, and each kind of damage is laid to those whom it hits."""

import dataclasses
import random
import weakref

import pytest

from dataver.checkout import verify_version
from dataver.formats.entry import Entry, Kind
from dataver.formats.pack import Footer, parse_footer
from dataver.progress import NoProgress
from dataver.repository import RepositoryCore as Core
from dataver.repository.layout import block_key
from dataver.storage import LocalStore
from dataver.tree import edit

from .conftest import World, write


class Counting(LocalStore):
    """A local store that adds up what is read of packs."""

    read = 0

    def get(self, key, start=None, length=None):
        data = super().get(key, start, length)
        if key.startswith("packs/"):
            self.read += len(data)
        return data


@pytest.fixture(scope="module")
def first(template):
    """What `edited` is a copy of."""
    world = template
    noise = random.Random(3)
    content = bytearray(noise.randbytes(25_000_000))
    write(world.source / "a/large.bin", bytes(content))
    for number in range(300):
        write(world.source / "b" / f"{number:03d}", noise.randbytes(noise.randrange(1, 150_000)))
    for number in range(300):
        write(world.source / "c" / f"{number:03d}", noise.randbytes(300))
    world.version()
    for position in range(0, len(content), 400_000):
        content[position : position + 10] = noise.randbytes(10)
    write(world.source / "a/large.bin", bytes(content))
    (world.source / "c/150").unlink()
    world.version(parents="some/data")
    return world


@pytest.fixture
def edited(first, tmp_path, monkeypatch):
    """A version whose large file lies in two packs by turns, beside files of all sizes; the files by path."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "machine"))
    copy = World(tmp_path, like=first)
    copy.edited = copy.repo.version("some/data")
    return copy


def damage(pack, position):
    """Flip a bit of a pack."""
    data = bytearray(pack.read_bytes())
    data[position] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)


def findings(world, version):
    """Return what a fresh look finds, by name."""
    fresh = Core(world.repo._core.store, world.repo._core.config)
    return dict(verify_version(fresh, version.tree.digest).findings)


def lies_at(entry, world):
    """Return the pack file of an entry's first extent, and a byte in the middle of its frames."""
    extent = entry.extents[0]
    (pack,) = [path for path in world.packs() if path.name == extent.pack.hex()]
    return pack, extent.offset + extent.stored // 2


@pytest.mark.parametrize("remote", [False, True])
def test_each_pack_is_read_about_once(edited, remote):
    """A file in two packs by turns, and small files over many frames, cost a few frames read again."""
    version, packs = edited.edited, edited.packs()
    assert len({extent.pack for extent in version.entry("a/large.bin").extents}) == 2
    assert len(version.entry("a/large.bin").extents) > 100
    store = Counting(edited.root / "repo")
    if remote:
        store.local_root = None  # small gaps are read, too, and more threads read
    repo = type(edited.repo)(Core(store, edited.repo._core.config), edited.repo.url)
    report = verify_version(repo._core, version.tree.digest)
    assert report.ok
    assert (report.files, report.size, report.packs) == (version.file_count, version.size, len(packs))
    frames = sum(path.stat().st_size for path in packs)
    assert 0.99 * frames < store.read < 1.1 * frames


def test_a_damaged_frame_is_laid_to_the_files_in_it(edited):
    """The pack is named, the files with bytes in the frame are, and their neighbours are not."""
    version = edited.edited
    damage(*lies_at(version.entry("b/150"), edited))
    found = findings(edited, version)
    names = {name for name in found if not name.startswith("pack ")}
    assert "b/150" in names
    assert names <= {f"b/{number:03d}" for number in range(130, 170)}
    assert len(found) - len(names) == 1
    assert "damaged" in found["b/150"]


def test_a_damaged_frame_of_a_large_file_is_found(edited):
    """A file over many windows is named once, and so is its pack."""
    version = edited.edited
    pack, position = lies_at(version.entry("a/large.bin"), edited)
    damage(pack, position)
    assert set(findings(edited, version)) == {"a/large.bin", f"pack {pack.name}"}


@pytest.fixture
def scattered(world):
    """A version of one file that lies in more than twenty packs."""
    write(world.source / "large.bin", random.Random(7).randbytes(24 << 20))
    config = dataclasses.replace(world.repo._core.config, pack_size=1 << 20)
    world.repo = type(world.repo)(Core(world.repo._core.store, config), world.repo.url)
    world.edited = world.version()
    assert len(world.packs()) > 20
    return world


def test_a_file_in_many_packs_does_not_keep_their_footers(scattered, monkeypatch):
    """Memory is bounded by what is kept and what is in flight, however large a file is."""
    monkeypatch.setattr("dataver.checkout.pack_verifier._FOOTERS", 2)
    monkeypatch.setattr("dataver.checkout.pack_verifier._WINDOW", 1 << 20)
    read, most = [], 0

    class Watched(Footer):
        __slots__ = ("__weakref__",)

    def parsing(*given):
        found = Watched(parse_footer(*given).raw)
        read.append(weakref.ref(found))
        return found

    class Watching(NoProgress):
        def advance(self, *_, **__):
            nonlocal most
            most = max(most, sum(each() is not None for each in list(read)))

    monkeypatch.setattr("dataver.repository.packs.parse_footer", parsing)
    fresh = Core(scattered.repo._core.store, scattered.repo._core.config)
    assert verify_version(fresh, scattered.edited.tree.digest, progress=Watching()).ok
    assert len(read) > 20
    assert 2 <= most < 16


@pytest.mark.parametrize("number", [0, 7])
def test_a_file_one_of_whose_packs_is_missing_is_found_once(scattered, number):
    """Wherever in the file the pack stands; the other packs are looked at all the same."""
    entry = scattered.edited.entry("large.bin")
    ids = list(dict.fromkeys(extent.pack.hex() for extent in entry.extents))
    for path in scattered.packs():
        if path.name == ids[number]:
            path.unlink()
        elif path.name == ids[-1]:
            damage(path, 100_000)
    assert set(findings(scattered, scattered.edited)) == {
        "large.bin",
        f"pack {ids[number]}",
        f"pack {ids[-1]}",
    }


def test_bytes_that_no_file_of_the_version_needs_are_checked_too(world):
    """The frame of a file that is gone again is damaged: the pack is a finding, and no file is."""
    noise = random.Random(5)
    for name in "abc":
        write(world.source / name, noise.randbytes(400_000))
    first = world.version()
    (world.source / "b").unlink()
    second = world.version(parents="some/data")
    damage(*lies_at(first.entry("b"), world))
    assert [name.split()[0] for name in findings(world, second)] == ["pack"]


@pytest.mark.parametrize("position", [3, -1, -20, -40])
def test_a_pack_without_its_head_or_footer_is_found_and_its_files_are_not_lost(edited, position):
    """Files are restored without either, so only the pack is a finding."""
    version = edited.edited
    for pack in edited.packs():
        damage(pack, position)
    assert set(findings(edited, version)) == {f"pack {pack.name}" for pack in edited.packs()}


@pytest.mark.parametrize("path", ["a/large.bin", "b/150", "c/200"])
def test_an_entry_with_another_files_bytes_is_found(edited, path):
    """Whole packs are not enough: a file has to be what its line in the tree says."""
    old = edited.edited.entry(path)
    wrong = Entry(path, Kind.FILE, old.size, bytes(32), "", old.extents)
    assert list(findings_of_tree(edited, wrong)) == [path]


def test_an_extent_that_fits_no_frame_is_found(edited):
    """It is named by its file, and everything else is looked at."""
    old = edited.edited.entry("b/150")
    bad = old.extents[0]._replace(stored=old.extents[0].stored + 1)
    wrong = old._replace(extents=(bad, *old.extents[1:]))
    found = findings_of_tree(edited, wrong)
    assert list(found) == ["b/150"]
    assert "does not fit the frames" in found["b/150"]
    beyond = old.extents[0]._replace(skip=2**31)
    assert list(findings_of_tree(edited, old._replace(extents=(beyond, *old.extents[1:])))) == ["b/150"]


def findings_of_tree(world, entry):
    """Return the findings of the edited version with one entry replaced."""
    store = world.repo._core.store

    def save(block):
        store.put(
            block_key(block.digest), block.data
        )  # extents are no part of a digest: replaces the old ones

    root = edit(world.edited.tree.digest, [(entry.path, entry)], world.repo._core.blocks.load, save)
    fresh = Core(LocalStore(world.root / "repo"), world.repo._core.config)
    return dict(verify_version(fresh, root.digest).findings)
