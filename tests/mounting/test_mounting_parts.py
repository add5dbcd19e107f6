"""The parts of a mount, each alone: the table of nodes, an open file, bytes of the protocol, links."""

import os
import random
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

import dataver
from dataver.mounting.inode_table import ROOT, Inode, Nodes, OpenFolder, inode
from dataver.mounting.open_file import PIECE, FarFile, LocalFile, PieceCount
from dataver.mounting.protocol import FuseRequest, Opcode, error_answer, init_answer, parse_request
from dataver.mounting.session import MountSession, is_dying
from dataver.parallel import process_pool
from dataver.reading import Files, Info
from waiting import until

from .conftest import NOISE


@pytest.fixture
def files(source: Path) -> Files:
    """The version's files."""
    return dataver.open().files("some/data")


def test_a_number_is_resolved_without_a_table(files: Files) -> None:
    """Each file, link and folder has one number, by which another mount finds it; others are refused."""
    nodes, numbers = Nodes(files, 0), set[int]()
    ahead = [nodes.get(ROOT)]
    for folder in ahead:
        for node in nodes.contents(folder):
            assert node == nodes.find(node.info.path) == Nodes(files, 1).get(node.number)
            numbers.add(node.number)
            if node.info.type == "directory":
                ahead.append(node)
    entries = list(dataver.open().version("some/data").entries())
    above = {str(each) for entry in entries for each in PurePosixPath(entry.path).parents} - {"."}
    assert len(numbers) == len(above | {entry.path for entry in entries})
    assert ROOT not in numbers
    with pytest.raises(LookupError):
        nodes.get(max(numbers) + 4096)


def test_a_folder_is_read_on_from_any_position(files: Files) -> None:
    """In order, again from the beginning, from the middle, and beyond the end."""
    nodes = Nodes(files, 0)
    names = [node.info.path for node in nodes.contents(nodes.get(ROOT))]
    folder = OpenFolder(nodes, nodes.get(ROOT))
    for position in (0, 1, 2, 0, 0, len(names) - 1, 1, len(names), len(names) + 5, 2):
        folder.seek(position)
        node = folder.peek()
        assert (node and node.info.path) == (names[position] if position < len(names) else None)
        if node is not None and position % 2 == 0:
            folder.advance()


def test_numbers_that_programs_see_are_of_the_path_alone() -> None:
    """Two paths differ, no path has the top folder's number or none."""
    seen = {inode(f"file {number}") for number in range(10_000)}
    assert len(seen) > 9_990
    assert not seen & {0, ROOT}
    assert inode("") == ROOT


@pytest.mark.parametrize("room", [0, 3, 96])
def test_every_read_of_an_open_file_is_the_files_bytes(files: Files, room: int) -> None:
    """Whatever is asked for in whatever order, with much or little room to look ahead; all is let go of."""
    chance, share = random.Random(room), PieceCount(room)
    for _ in range(25):
        file = FarFile(files, "large.bin", len(NOISE), share)
        start = 0
        for _ in range(12):
            length = chance.choice((1, 5_000, 131_072, 131_072, 1_500_000))
            assert b"".join(file.read(start, length)) == NOISE[start : start + length]
            near = start + length + chance.choice((0, 0, 0, 131_072, -262_144))
            start = max(0, near) if chance.random() < 0.8 else chance.randrange(5_200_000)
        file.close()
    assert share.used == 0


def test_a_file_read_in_order_is_read_ahead_and_a_jumping_one_is_not(files: Files) -> None:
    """In order: whole pieces and more ahead. At random: no piece at all."""
    share = PieceCount()
    ordered = FarFile(files, "large.bin", len(NOISE), share)
    for start in range(0, 3 * PIECE, 128 * 1024):
        ordered.read(start, 128 * 1024)
    assert 3 <= share.used <= 6
    ordered.close()
    jumping = FarFile(files, "large.bin", len(NOISE), share)
    for start in (4_000_000, 1_500_000, 4_800_000, 2_700_000):
        assert b"".join(jumping.read(start, 1000)) == NOISE[start : start + 1000]
    assert share.used == 0


def test_a_reader_gets_its_bytes_where_another_one_dropped_the_piece(files: Files) -> None:
    """A piece that was dropped before it was read is read by whoever waits for it."""
    held = threading.Event()
    blockers = [process_pool("ahead").submit(held.wait, 120) for _ in range(8)]  # all its threads
    file = FarFile(files, "large.bin", len(NOISE), PieceCount())
    with ThreadPoolExecutor(1) as readers:
        waiting = readers.submit(file.read, 0, 100_000)
        until(lambda: file._pieces)
        file.close()
        assert b"".join(waiting.result(120)) == NOISE[:100_000]
    held.set()
    assert all(blocker.result(120) for blocker in blockers)


def test_a_file_in_the_cache_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    """Bytes that are missing are never zeros."""
    (tmp_path / "file").write_bytes(NOISE[:1000])
    file = LocalFile(os.open(tmp_path / "file", os.O_RDONLY), 1000)
    assert file.read(900, 4096) == (NOISE[900:1000],)
    os.truncate(tmp_path / "file", 950)
    with pytest.raises(OSError, match="shorter"):
        file.read(900, 4096)
    file.close()


def request(opcode: int, body: bytes, node: int = ROOT) -> FuseRequest:
    head = struct.pack("=IIQQIIIHH", 40 + len(body), opcode, 7, node, 0, 0, os.getpid(), 0, 0)
    return parse_request(memoryview(head + body))


def test_a_kernel_that_is_too_old_is_refused() -> None:
    """Protocol 7.31 or later; of what a kernel offers only what is known is taken."""
    assert init_answer(memoryview(struct.pack("=IIII", 7, 30, 131_072, 0))) is None
    answer = init_answer(memoryview(struct.pack("=IIII12I", 7, 45, 131_072, 0xFFFFFFFF, *[0] * 12)))
    assert answer is not None
    assert len(answer) == 64
    major, minor, _, flags = struct.unpack_from("=IIII", answer)
    assert (major, minor) == (7, 31)
    assert flags & (1 << 22)


def answered(session: MountSession, kernel: int, asked: FuseRequest) -> tuple[int, bytes]:
    session._receive(asked)
    length, error, unique = struct.unpack_from("=IiQ", data := os.read(kernel, 65536))
    assert (length, unique) == (len(data), 7)
    return error, data[16:]


def test_a_link_that_leads_out_of_the_version_leads_nowhere(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile version shows such a link, but neither the kernel nor a program learns where it points."""
    kernel, ours = os.pipe()
    session = MountSession(files, ours, lambda path, error: None)
    for target, allowed in (
        ("../a-b", True),
        ("../../x", False),
        ("/etc/passwd", False),
        ("a/../../..", False),
    ):
        node = Inode(2, Info(f"links/{len(target)}", "link", target=target))
        monkeypatch.setattr(session._nodes, "get", lambda _, node=node: node)
        error, data = answered(session, kernel, request(Opcode.READLINK, b"", node.number))
        assert (error, data) == ((0, target.encode()) if allowed else (-1, b""))
    os.close(kernel)
    session.close()


def test_requests_that_are_not_known_are_answered(files: Files) -> None:
    """A request without an answer would hang a program: what is not known is "no such function"."""
    kernel, ours = os.pipe()
    session = MountSession(files, ours, lambda path, error: None)
    for opcode in (4, 6, 8, 9, 10, 16, 22, 23, 35, 46, 52, 4096):
        assert answered(session, kernel, request(opcode, bytes(64)))[0] == -38
    assert answered(session, kernel, request(Opcode.GETATTR, bytes(16), node=1 << 40))[0] == -116
    assert answered(session, kernel, request(Opcode.READ, bytes(40), node=1 << 40))[0] == -116
    os.close(kernel)
    session.close()


def test_an_answer_is_sent_once() -> None:
    """A process that lives is not dying; an error answer is a header alone."""
    assert not is_dying(os.getpid())
    assert not is_dying(0)
    assert error_answer(5, 2) == struct.pack("=IiQ", 16, -2, 5)
