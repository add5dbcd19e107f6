"""Bodies of PUTs: their checksums, and that hashing waits for no thread of another process."""

import base64
import hashlib
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataver import parallel
from dataver.storage.body import Body

_FORKED = """
import os, sys
from dataver import parallel
from dataver.storage import body
for _ in range(parallel.hashers()):
    body._turn(2_000_000).__enter__()  # as if other threads were hashing
assert body.Body(b"small").md5()  # waits for nobody
child = os.fork()
if not child:
    os._exit(0 if body.Body(b"x" * 2_000_000).md5() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("size", [0, 1, 300_000, 3_000_000])
def test_checksums_of_files_and_bytes(tmp_path, size):
    data = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    (tmp_path / "file").write_bytes(data)
    for source in (data, memoryview(data), tmp_path / "file"):
        made = Body(source)
        assert len(made) == size
        assert base64.b64decode(made.md5()) == hashlib.md5(data).digest()
        assert int.from_bytes(base64.b64decode(made.crc32()), "big") == zlib.crc32(data)
        assert made.whole() == data


def test_no_more_are_hashed_at_once_than_leave_room_for_sending(monkeypatch):
    """The first is sent while the next is hashed."""
    running = most = 0
    lock = threading.Lock()

    class Watched(Body):
        def _parts(self):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            yield from super()._parts()
            with lock:
                running -= 1

    data = bytes(5_000_000)
    with ThreadPoolExecutor(8) as pool:
        sums = set(pool.map(lambda _: Watched(data).md5(), range(24)))
    assert len(sums) == 1
    assert 1 <= most <= parallel.hashers()


def test_a_forked_child_does_not_wait_for_threads_that_it_does_not_have():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _FORKED], timeout=120, check=False)
    assert done.returncode == 0
