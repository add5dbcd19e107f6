"""Requests that hide others, and clients that do not take what they asked for."""

import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from dataver.web import server

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
def test_slow_clients_delay_no_other(world, slow, fetched):
    """All but two connections are taken by clients that read or send bytewise; another is answered."""
    world.server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # less than the file
    if fetched:  # its descriptor is open meanwhile
        world.repo.fetch("vision/cats@1.0.0")
    whole = b"GET /vision/cats@1.0.0/large.bin HTTP/1.1\r\nHost: localhost\r\nX-Long: %b\r\n\r\n" % (
        b"x" * 9000
    )
    done = threading.Event()
    with ExitStack() as stack:
        clients = []
        for _ in range(server.CONNECTIONS - 2):
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
        reply = world.ask("/words@1.0.0/a/deep.txt")
        assert (reply.status, reply.body) == (200, b"deep")
        assert b"vision/cats" in world.ask("/-/datasets").body
    assert world.ask("/words@1.0.0/a/deep.txt").body == b"deep"
