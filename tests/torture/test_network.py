"""Every command with every HTTP request to a server broken in every way: right, or an error of ours.

What must hold after each is in `commands.py`. A request is broken once, or for as long as the command sends
the same. DATAVER_TEST_SERVERS chooses the servers; by default it is SeaweedFS alone. Requests that hang are
in `tests/storage/test_s3_faults.py`.

DATAVER_TORTURE=full breaks every request; else some of each command.
"""

import os
import secrets
import threading
import time
from collections import Counter

import pytest

from dataver.storage.s3 import S3Store
from dataver.storage.s3_transport import connect
from servers import chosen
from servers.proxy import Break, FaultyNetwork

from .commands import CASES, NAMES, World, ends_of, own_folder, prepare, tried
from .conftest import FULL, write_line

SERVERS = chosen() if os.environ.get("DATAVER_TEST_SERVERS") else ("seaweedfs",)
STORE_DAMAGE = {"moto"}
"""Servers that do not compare a body's MD5; of damage that does not end, the command tells, and it stays."""

BREAKS = [each for each in Break if each is not Break.HANG]


class InBucket:
    """A place in a bucket; objects are read only where they are new."""

    def __init__(self, server):
        self.server, self.url = server, server.url(f"torture/{secrets.token_hex(6)}")
        self._transports = {}
        self._known = {}
        self.store = self.through(server.endpoint)

    def through(self, endpoint):
        """Return a store that has sent nothing yet, whose requests go to an address."""
        options = self.server.options | {"endpoint_url": endpoint}
        if endpoint not in self._transports:
            self._transports[endpoint] = connect(options)
        transport = self._transports[endpoint]
        return S3Store(self.url.removeprefix("s3://"), options, connecting=lambda _options: transport)

    def objects(self):
        infos = [(info.key, info.size, info.etag) for info in self.store.list()]
        self._known |= {info: self.store.get(info[0]) for info in infos if info not in self._known}
        return {info[0]: self._known[info] for info in infos}

    def replace(self, objects):
        there = self.objects()
        for key in there.keys() - objects.keys():
            self.store.delete(key)
        for key, data in objects.items():
            if there.get(key) != data:
                self.store.put(key, data)


class Rule:
    """Breaks one request, and with `stays` all later ones of the same method and path."""

    def __init__(self, number=0, what=None, *, stays=False):
        self.number, self.what, self.stays = number, what, stays
        self.asked, self.met, self._which = [], "", None
        self._lock = threading.Lock()

    def __call__(self, seen):
        which = seen.method, seen.path
        with self._lock:
            self.asked.append(seen)
            now = len(self.asked) == self.number
            if now:
                self._which = which
            if (now or (self.stays and self._which == which)) and can_happen(self.what, seen):
                self.met = self.met or " ".join(which)
                return self.what
        return None


@pytest.fixture(scope="module", params=SERVERS)
def worlds(request, tmp_path_factory):
    """Two repositories on a server, and a network before it."""
    server = request.getfixturevalue(f"{request.param}_server")
    root = tmp_path_factory.mktemp("network")
    with own_folder(root), FaultyNetwork(server.endpoint, Rule()) as network:
        yield (
            server,
            network,
            World(root, {name: InBucket(server) for name in NAMES}, exclusive=server.exclusive),
        )


@pytest.mark.servers
@pytest.mark.parametrize("name", CASES)
def test_any_request_broken(worlds, name):
    """The command is right or raises our error; nothing is lost; repeated, it is right."""
    server, network, world = worlds
    began, case, wrong, counts = time.perf_counter(), CASES[name], [], Counter()
    place = world.places[case.lies]
    working = network.rule = Rule()
    ends = ends_of(world, case, place.through(network.endpoint))
    for what in BREAKS:
        possible = [number for number, seen in enumerate(working.asked, 1) if can_happen(what, seen)]
        for number in sample(possible, what):
            for stays in (False, True) if FULL else (number % 2 == 0,):
                if stays and what is Break.FLIP_SENT and server.name in STORE_DAMAGE:
                    continue
                prepare(world, case)
                rule = network.rule = Rule(number, what, stays=stays)
                counts["tried"] += 1
                try:
                    ended = tried(world, case, place.through(network.endpoint), ends)
                    counts["right" if ended else "refused"] += 1
                except (AssertionError, Exception) as error:  # noqa: BLE001  # what this looks for
                    how = f"request {number}, {what.name}{' from then on' if stays else ''}"
                    wrong.append(f"{how} {rule.met}: {type(error).__name__}: {str(error)[:300]}")
                counts["met"] += bool(rule.met)
    figures = (counts[each] for each in ("tried", "met", "right", "refused"))
    seconds = f"{time.perf_counter() - began:.0f}"
    write_line(server.name, name, len(working.asked), *figures, len(wrong), seconds)
    assert not wrong, f"{len(wrong)} of {counts['tried']}:\n" + "\n".join(wrong[:20])


def can_happen(what, seen):
    """Tell whether a break changes a request; nothing but TLS protects the bytes of listings."""
    reads = seen.method == "GET" and "list-type=" not in seen.path
    creates = "If-None-Match" in seen.headers
    sends = seen.method == "PUT" and int(seen.headers.get("Content-Length") or 0) > 0
    return {
        Break.CUT_SENT: sends,
        Break.FLIP_SENT: sends,
        Break.CUT_BODY: seen.method == "GET",
        Break.SHORT_BODY: reads,
        Break.FLIP: reads,
        Break.NO_KEY: reads or seen.method == "HEAD",
        Break.EXISTS: creates,
        Break.CONFLICT: creates,
    }.get(what, True)


def sample(numbers, what):
    """Return the numbers of requests that are tried: all, or one that differs from break to break."""
    if FULL or not numbers:
        return numbers
    return [numbers[BREAKS.index(what) * 7 % len(numbers)]]
