"""External files on a web server: read there, and not where it redirects to."""

import http.server
import threading
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

import dataver
from dataver.errors import StoreError
from dataver.machine.configuration import user_config_path

pytestmark = pytest.mark.filterwarnings("error")


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; once `moved` is set, redirects what lies below `raw/` there."""

    def send_head(self):
        self.server.log.append(self.path)
        if self.server.moved is None or not self.path.startswith("/raw/") or self.path.endswith("/"):
            return super().send_head()
        self.send_response(302)
        self.send_header("Location", f"{self.server.moved}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def served(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder))
    server.log, server.moved = [], None
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def servers(world):
    """Two servers of the same folder `raw`, which a version names on the first."""
    for number in range(3):
        world.write(f"{number}.bin", 2000)
    with ExitStack() as stack:
        first, second = (stack.enter_context(served(world.root)) for _ in range(2))
        world.record(f"{first.url}/raw")
        second.log.clear()
        yield first, second


def test_a_redirect_to_another_server_is_not_followed(world, servers):
    """The other server is not asked; with its permission it is, and what comes is checked as ever."""
    first, second = servers
    first.moved = second.url
    calls = (
        lambda repo: repo.fetch("ext", dest=world.root / "out"),
        lambda repo: repo.version("ext").read("1.bin"),
        lambda _: world.record(f"{first.url}/raw", name="more"),
    )
    for call in calls:
        with pytest.raises(
            StoreError, match=f"redirects to {second.url}, and reading external files there is not permitted"
        ) as caught:
            call(world.fresh())
        assert not caught.value.transient and f"stores.{second.url}.external" in caught.value.hint
    assert [reason for _, reason in world.fresh().verify("ext").findings if "redirects to" in reason]
    assert second.log == []
    dataver.Config().set(f"stores.{second.url}.external", "true", user=True)
    assert world.fresh().fetch("ext", dest=world.root / "out").files == 3
    assert second.log


def test_a_redirect_on_the_same_server_is_followed_below_what_is_allowed(world, servers):
    """Below the place it is followed, beside it it is not."""
    first, _ = servers
    assert f"{first.url}/raw" in user_config_path().read_text()
    first.moved = ""  # to itself: an endless circle, which is no refusal of ours
    with pytest.raises(StoreError) as caught:
        world.fresh().version("ext").read("1.bin")
    assert "redirects to" not in caught.value.message
    first.moved = "/repo"
    with pytest.raises(
        StoreError, match=f"redirects to {first.url}, and reading external files there is not permitted"
    ):
        world.fresh().version("ext").read("1.bin")
