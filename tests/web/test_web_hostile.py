"""Requests that hide others, and clients that do not take what they asked for."""

import itertools
import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from dataver.web import server, socket_writer

HIDDEN = b"GET /words@1.0.0/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("method", [b"OPTIONS", b"GET", b"HEAD", b"POST"])
def test_what_follows_a_body_is_not_answered(world, method):
    """A body that looks like a request is none: one answer, then the connection ends."""
    head = b"%b / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (method, len(HIDDEN))
    assert world.raw(head + HIDDEN).count(b"HTTP/1.1 ") == 1


def test_options_without_a_body_keep_the_connection(world):
    """Two requests, two answers."""
    options = b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = world.raw(options + HIDDEN)
    assert found.startswith(b"HTTP/1.1 204 ")
    assert found.count(b"HTTP/1.1 200 ") == 1


@pytest.mark.parametrize("name", [b"Content-Length ", b"Host ", b"X\t"])
def test_a_space_before_a_colon_is_refused(world, name):
    """A proxy and this server could take it for different headers."""
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n%b: %d\r\n\r\n" % (name, len(HIDDEN))
    found = world.raw(head + HIDDEN)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("fetched", [False, True])
@pytest.mark.parametrize("slow", ["readers", "senders"])
def test_slow_clients_give_way_to_others(world, monkeypatch, slow, fetched):
    """Every connection is taken by a client that reads or sends a byte at a time: another one is answered."""
    monkeypatch.setattr(server, "_SPARED", 0.5)
    monkeypatch.setattr(server.Handler, "timeout", 600.0)  # of a send; so waiting for it would not do
    world.server._tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # less than the file
    if fetched:  # the kernel sends the file
        world.repo.fetch("vision/cats@1.0.0")
    whole = b"GET /vision/cats@1.0.0/large.bin HTTP/1.1\r\nHost: localhost\r\nX-Long: %b\r\n\r\n" % (
        b"x" * 9000
    )
    done = threading.Event()
    with ExitStack() as stack:
        clients = []
        for _ in range(server.CONNECTIONS):
            client = socket.socket()
            stack.enter_context(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(120)
            client.connect(("127.0.0.1", world.server.port))
            client.sendall(whole if slow == "readers" else whole[:40])
            clients.append(client)

        def trickle():
            at = 40
            while not done.wait(0.1):
                for client in clients:
                    with suppress(OSError):
                        client.recv(1) if slow == "readers" else client.send(whole[at : at + 1])
                at += 1

        thread = threading.Thread(target=trickle)
        stack.callback(thread.join)
        stack.callback(done.set)
        thread.start()
        replies = []
        while not replies or (replies[-1].status == 503 and len(replies) < 120):
            if replies:
                done.wait(int(replies[-1].headers["Retry-After"]))
            with suppress(OSError):  # refused before the request was read
                replies.append(world.ask("/words@1.0.0/a/deep.txt"))
        assert (replies[-1].status, replies[-1].body) == (200, b"deep")
    assert world.ask("/words@1.0.0/a/deep.txt").body == b"deep"


def test_time_that_a_client_keeps_the_server_waiting_adds_up(tmp_path, monkeypatch):
    """Over all its reads, however short, until it has taken a good part; also of a file of this machine."""
    ticks = itertools.count()
    monkeypatch.setattr(socket_writer.time, "monotonic", lambda: float(next(ticks)))
    seen = []

    class Connection:
        def send(self, data):
            seen.append(next(ticks) - out.since)
            return min(len(data), 10_000)

        def sendfile(self, file, offset, count):
            seen.append(next(ticks) - out.since)
            return len(file.read(count))

    out = socket_writer.SocketWriter(Connection())
    count = -(-socket_writer.STEP // 10_000)
    for _ in range(count - 1):
        assert out.write(bytes(1_000_000)) == 10_000
        assert out.since is None
    assert seen == [1 + 2 * number for number in range(count - 1)]
    out.write(bytes(1_000_000))
    out.write(bytes(1_000_000))
    assert seen[count - 1 :] == [2 * count - 1, 1]
    (tmp_path / "file").write_bytes(bytes(3 * socket_writer.STEP))
    seen.clear()
    with (tmp_path / "file").open("rb") as file:
        assert out.sendfile(file, 0, 3 * socket_writer.STEP) == 3 * socket_writer.STEP
    assert len(seen) == 3 and max(seen) <= 3
