"""`dataver ui`: where it leads, in a real process with a program in place of a browser."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from command_line import Run

from waiting import until


@contextmanager
def started(*words: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """`dataver ui` with a browser that writes the address that it is given to the file `opened`."""
    browser = Path("browser")
    browser.write_text('#!/bin/sh\nprintf %s "$1" > opened.part && mv opened.part opened\n')
    browser.chmod(0o755)
    variables = {**os.environ, "BROWSER": f"{browser.absolute()} %s", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "dataver_cli", "ui", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def fetched(url: str, **headers: str) -> tuple[int, str, str]:
    """The status, the Location or nothing, and the body."""
    host, _, path = url.removeprefix("http://").partition("/")
    with closing(HTTPConnection(host, timeout=60)) as connection:
        connection.request("GET", f"/{path}", headers={"Connection": "close", **headers})
        response = connection.getresponse()
        return response.status, response.headers.get("Location", ""), response.read().decode()


@pytest.mark.parametrize(
    ("ref", "page"),
    [
        ((), "/-/datasets"),
        (("vision/cats",), "/-/dataset?name=vision/cats"),
        (("vision/cats@latest",), "/-/version?ref=vision/cats@1.0.1"),
    ],
)
def test_a_browser_opens_what_is_named(two_versions: Path, ref: tuple[str, ...], page: str) -> None:
    """The list, a dataset, a version; the address is printed as well, and works."""
    with started(*ref, "--port", "0") as process:
        told = process.stderr.readline()
        address = re.search(r"(http://localhost:\d+/\S+) until Ctrl-C", told)[1]
        assert address.endswith(page)
        until(Path("opened").exists)
        assert Path("opened").read_text() == address
        assert "version?" in page or "vision/cats" in fetched(address)[2]


def test_json_and_no_browser(two_versions: Path) -> None:
    """One line for programs, with the token where there is one."""
    with started("--port", "0", "--json", "--no-browser", "--edit") as process:
        told = json.loads(process.stdout.readline())
        assert told["page"] == f"{told['url']}/-/datasets?token={told['token']}"
        assert fetched(f"{told['url']}/-/datasets")[0] == 401
        assert fetched(told["page"])[0] == 200
    assert not Path("opened").exists()


def test_a_token_that_was_made_is_printed_with_quiet_as_well(two_versions: Path) -> None:
    """Nothing else says it."""
    with started("--port", "0", "--quiet", "--no-browser", "--edit") as process:
        assert fetched(process.stdout.readline().strip())[0] == 200


def test_the_browser_gets_a_code_in_place_of_the_token(two_versions: Path) -> None:
    """Other users of this machine see the arguments of its processes; the code is accepted once."""
    with started("--port", "0", DATAVER_TOKEN="x" * 20) as process:
        assert "?token=xxxx" in process.stderr.readline()
        until(Path("opened").exists)
        address = Path("opened").read_text()
        assert "xxxx" not in address
        assert fetched(address, Accept="text/html")[:2] == (303, "/-/datasets")
        assert fetched(address, Accept="text/html")[0] == 401


def test_a_port_in_use(two_versions: Path) -> None:
    """Without --port a free one is taken; the one of --port is taken or refused."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8765))
            taken.listen()
        except OSError:
            pass  # another process of this machine has it
        with started("--no-browser") as process:
            said = process.stderr.readline()
            port = re.search(r"Port 8765 is in use; this server has port (\d+)", said)[1]
            assert f"http://localhost:{port}/-/datasets until" in process.stderr.readline()


def test_what_is_not_there(run: Run, two_versions: Path) -> None:
    """An unknown name is an error with similar ones, before anything is served."""
    for words in (("vision/dogs",), ("vision/cats@9.9.9",)):
        assert run("ui", "--no-browser", "--port", "0", *words, expect=4).err


def test_no_browser_is_no_error(two_versions: Path) -> None:
    """Without a screen the address is enough; no browser of the terminal takes it over."""
    with started("--port", "0", BROWSER="", DISPLAY="", WAYLAND_DISPLAY="") as process:
        assert "until Ctrl-C" in process.stderr.readline()
        assert "open the address" in process.stderr.readline()
