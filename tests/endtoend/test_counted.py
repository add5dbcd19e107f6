"""What really goes over the wire to a real server: requests and bytes, counted by a proxy between.

`test_requests.py` counts what is asked of a store; here nothing is left out that a transport might add.
"""

import os
import random
import secrets
from collections import Counter

import pytest

import dataver
from servers import chosen
from servers.proxy import FaultyNetwork

from .conftest import contents

_RANGE = 8 << 20  # bytes of the longest read (dataver.repository.frame_reader.MAX_RANGE)

pytestmark = pytest.mark.servers


class Wire:
    """A repository on a server; machines reach it through a network that counts."""

    def __init__(self, server, network, first, second):
        self.server, self.network = server, network
        self.first, self.second = first, second
        self.url = server.url(f"counted/{secrets.token_hex(6)}")
        self.options = server.options | {"endpoint_url": network.endpoint}
        first.sit_down()
        dataver.init(self.url, storage_options=self.options)

    def publish(self, folder):
        """Publish a folder as a version of `d`, from the first machine."""
        self.first.sit_down()
        return dataver.open(self.url, storage_options=self.options).sync(folder, "d").upload

    def fetch(self, ref, **more):
        """Fetch on the second machine; return its report, the requests, and the bytes of all bodies."""
        self.second.sit_down()
        before, passed = len(self.network.seen), self.network.passed
        report = dataver.open(self.url, storage_options=self.options).fetch(ref, **more)
        return report, self.network.seen[before:], self.network.passed - passed


@pytest.fixture(params=[name for name in ("seaweedfs", "ceph") if name in chosen()])
def wire(request, machines):
    """A counted line between two machines and a server."""
    server = request.getfixturevalue(f"{request.param}_server")
    with FaultyNetwork(server.endpoint, lambda _seen: None) as network:
        yield Wire(server, network, *machines)


def _kinds(seen):
    """Return how many requests were made of each method and kind of key."""
    kinds = ("/packs/", "/trees/", "/datasets/")
    return Counter(
        (one.method, next((kind for kind in kinds if kind in one.path and "list-type" not in one.path), ""))
        for one in seen
    )


@pytest.mark.slow
def test_fifty_thousand_tiny_files_cost_packs_many_requests(wire, tmp_path):
    """A footer and one read for each 8 MB of packs, a request for each block of the tree, and a few names."""
    noise = random.Random(50)
    for number in range(50_000):
        folder = tmp_path / "tiny" / f"{number % 100:02d}"
        if number < 100:
            folder.mkdir(parents=True)
        (folder / f"{number:05d}").write_bytes(noise.randbytes(noise.randrange(20, 4000)))
    sent = wire.publish(tmp_path / "tiny")
    assert sent.packs >= 2
    for more in ({}, {"dest": tmp_path / "own"}):
        report, seen, moved = wire.fetch("d", **more)
        assert report.files == 50_000
        assert (sum(report.path.joinpath(f"{n:02d}").exists() for n in range(100))) == 100
        if report.transferred:
            kinds = _kinds(seen)
            print(f"{wire.server.name}: {dict(kinds)}, {moved:,} bytes of {sent.size:,}, {sent.packs} packs")
            assert kinds["GET", "/packs/"] <= 2 * sent.packs + sent.size // _RANGE
            assert kinds["GET", "/trees/"] == sent.blocks < 40
            assert len(seen) <= 2 * sent.packs + sent.size // _RANGE + sent.blocks + 8
            assert {one.method for one in seen} <= {"GET", "HEAD"}
            assert moved < 1.02 * sent.size
    assert not report.transferred  # the second one had all of it here
    sample = random.Random(51).sample(range(50_000), 500)
    for number in sample:
        name = f"{number % 100:02d}/{number:05d}"
        assert (report.path / name).read_bytes() == (tmp_path / "tiny" / name).read_bytes()


@pytest.mark.slow
def test_the_next_version_moves_only_its_new_chunks(wire, tmp_path):
    """Version N is here: N + 1 brings what changed, by the bytes on the wire, and nothing else."""
    noise = random.Random(7)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03d}").write_bytes(noise.randbytes(40_000))
    (folder / "large").write_bytes(noise.randbytes(30_000_000))
    first = wire.publish(folder)
    _, _, moved = wire.fetch("d@1.0.0")
    assert first.size < moved < 1.02 * first.size

    large = bytearray((folder / "large").read_bytes())
    large[10_000_000:10_000_000] = noise.randbytes(100_000)  # all that follows moves by so much
    (folder / "large").write_bytes(large)
    (folder / "017").write_bytes(noise.randbytes(50_000))
    (folder / "new").write_bytes(noise.randbytes(60_000))
    (folder / "000").rename(folder / "renamed")
    (folder / "copy").write_bytes((folder / "001").read_bytes())
    second = wire.publish(folder)
    changed = 100_000 + 50_000 + 60_000
    assert second.size < 2 * changed  # the chunks at both ends of the insertion, and the tree's blocks

    report, seen, moved = wire.fetch("d@1.0.1")
    print(f"{wire.server.name}: {moved:,} bytes, {second.size:,} sent, {len(seen)} requests")
    assert contents(report.path) == contents(folder)
    assert report.transferred <= moved
    assert moved < 1.05 * second.size + 20_000  # a listing and a record
    _, seen, moved = wire.fetch("d@1.0.1")
    assert not [one.path for one in seen if "/packs/" in one.path or "/trees/" in one.path]
    assert moved < 20_000

    os.unlink(folder / "large")
    wire.publish(folder)
    report, seen, moved = wire.fetch("d@1.0.2")
    assert contents(report.path) == contents(folder)
    assert not [one.path for one in seen if "/packs/" in one.path]
