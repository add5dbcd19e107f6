"""What programs see in a mounted version is what was put into it."""

import mmap
import os
import random
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dataver

from .conftest import NOISE, Mounting


def seen(folder: Path) -> dict[str, tuple[str, int, object]]:
    """Return what a folder holds: path → kind, permissions for all, content or target."""
    found: dict[str, tuple[str, int, object]] = {}
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(at, name)
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
                assert len(content) == status.st_size
            executable = status.st_mode & 0o111 if stat.S_ISREG(status.st_mode) else 0
            found[path.relative_to(folder).as_posix()] = (
                stat.filemode(status.st_mode)[0],
                executable,
                content,
            )
    return found


def test_a_mount_shows_what_the_version_was_made_of(mounting: Mounting, source: Path) -> None:
    """Names, kinds, executable bits, links and bytes are those of the folder."""
    mounted = mounting()
    assert seen(mounted.folder) == seen(source)
    assert mounted.told["ref"] == "some/data@1.0.0"
    assert mounted.told["files"] == 7


def test_programs_run_follow_links_and_miss_what_is_not_there(mounting: Mounting) -> None:
    """A script of the version runs, a path through a link is found, other names are not."""
    folder = mounting().folder
    assert subprocess.run([folder / "run.sh"], capture_output=True, check=True).stdout == b"ran\n"
    assert (folder / "links" / "folder" / "c" / "grüße.txt").read_bytes() == b"deep"
    assert (folder / "links" / "file").read_bytes() == NOISE
    for name in ("gone", "links/nowhere", "a/b/gone", os.fsdecode(b"not utf-8 \xff"), "run.sh/below"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            (folder / name).read_bytes()


def test_the_same_numbers_and_times_each_time(mounting: Mounting) -> None:
    """Programs that note a file's number and time find it unchanged when it is mounted again."""
    first = mounting()
    before = [(first.folder / name).stat() for name in ("large.bin", "a", "")]
    first.end()
    again = mounting().folder
    after = [(again / name).stat() for name in ("large.bin", "a", "")]
    assert [(one.st_ino, one.st_mtime) for one in before] == [(one.st_ino, one.st_mtime) for one in after]
    assert len({one.st_ino for one in before}) == 3


def test_any_part_in_any_order_from_many_threads(mounting: Mounting) -> None:
    """Eight threads read parts of one open file at random, of every size."""
    chance = random.Random(3)
    file = os.open(mounting().folder / "large.bin", os.O_RDONLY)

    def part(place: tuple[int, int]) -> bool:
        start, length = place
        return os.pread(file, length, start) == NOISE[start : start + length]

    places = [
        (chance.randrange(len(NOISE) + 10), chance.choice((1, 4096, 100_000, 3_000_000))) for _ in range(300)
    ]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(part, places))
    os.close(file)


def test_a_file_is_mapped_into_memory(mounting: Mounting) -> None:
    """Readers that map files, as Arrow does, see their bytes."""
    with (
        (mounting().folder / "large.bin").open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        assert mapped[2_500_000:2_600_000] == NOISE[2_500_000:2_600_000]
        assert mapped[:] == NOISE


def test_nothing_can_be_changed(mounting: Mounting, source: Path) -> None:
    """Every way to write is refused as a read-only file system does, and nothing has changed."""
    folder = mounting().folder
    attempts = (
        lambda: (folder / "new").write_bytes(b"x"),
        lambda: (folder / "large.bin").write_bytes(b"x"),
        (folder / "large.bin").unlink,
        lambda: (folder / "large.bin").chmod(0o777),
        lambda: (folder / "a-b").rename(folder / "b"),
        (folder / "folder").mkdir,
        (folder / "empty").rmdir,
        lambda: (folder / "link").symlink_to("a-b"),
        lambda: os.utime(folder / "a-b"),
        lambda: os.truncate(folder / "a-b", 1),
    )
    for attempt in attempts:
        with pytest.raises(OSError, match=r"Read-only|Permission denied"):
            attempt()
    assert seen(folder) == seen(source)


def test_a_folder_of_many_names_is_listed_whole(mounting: Mounting, source: Path, tmp_path: Path) -> None:
    """Listings longer than one answer of the device have every name once, with and without attributes."""
    many = source / "many"
    many.mkdir()
    names = {f"{number:05d}-{'x' * (number % 200)}.txt" for number in range(6_000)}
    for name in names:
        (many / name).write_bytes(name.encode())
    dataver.open().sync(source, "some/data", workspace=tmp_path / "work")
    folder = mounting("some/data@1.0.1").folder / "many"
    listed = os.listdir(folder)
    assert len(listed) == len(names)
    assert set(listed) == names
    with os.scandir(folder) as entries:
        assert {entry.name: entry.stat().st_size for entry in entries} == {name: len(name) for name in names}
    assert (folder / sorted(names)[4_321]).read_bytes().decode() == sorted(names)[4_321]


def test_what_was_read_once_comes_from_the_kernel(mounting: Mounting, tmp_path: Path) -> None:
    """A second read asks neither the repository nor this machine's cache: both may be gone."""
    folder = mounting().folder
    first = seen(folder)
    (tmp_path / "repo").rename(tmp_path / "elsewhere")
    assert seen(folder) == first


def test_a_fetched_version_is_read_from_its_folder(mounting: Mounting, source: Path, tmp_path: Path) -> None:
    """Once this machine has fetched it, the repository's packs may be gone."""
    dataver.open().fetch("some/data@1.0.0")
    for path in (tmp_path / "repo" / "packs").rglob("*"):
        if path.is_file():
            path.unlink()
    assert seen(mounting().folder) == seen(source)


def test_the_sizes_that_df_shows_are_the_versions(mounting: Mounting) -> None:
    """The file system holds as much as the version does, and has no room."""
    mounted = mounting()
    totals = os.statvfs(mounted.folder)
    assert totals.f_files == mounted.told["files"]
    assert 0 <= totals.f_blocks * totals.f_frsize - mounted.told["size"] < totals.f_frsize
    assert totals.f_bavail == 0
    assert totals.f_flag & os.ST_RDONLY


def test_an_ordinary_process_mounts_with_the_helper(
    fuse: None, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not mount does it through fusermount3, and the mount shows the same."""
    import shutil

    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed")
    folder = tmp_path / "helped"
    folder.mkdir()
    code = f"""
import sys, dataver
from pathlib import Path
from dataver.mounting import device, mount as mounting
attach = device.attach
mounting_module = sys.modules["dataver.mounting.mount"]
mounting_module.attach = lambda *words, **options: attach(*words, **options, helper=True)
with mounting_module.mount(dataver.open().files("some/data"), {str(folder)!r}):
    print("ready", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        assert seen(folder) == seen(source)
        assert "fuse.dataver" in Path("/proc/mounts").read_text()
    finally:
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert os.listdir(folder) == []
