"""The server of `dataver serve` and `dataver ui`: one implementation and one set of options."""

import os
import signal
import sys
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from dataver_cli.memory import keep_freed_memory
from dataver_cli.output import json_text
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Repository
    from dataver.web import Server

__all__ = ["PORT", "run_server", "server_options"]

Function = Callable[..., object]

PORT = 8765
"""The port without `--port`."""


def server_options(port: int | None, note: str) -> Callable[[Function], Function]:
    """Declare the options of the server; `note` says which port is used without `--port`."""

    def decorate(function: Function) -> Function:
        for each in (
            click.option(
                "--edit", is_flag=True, help="Let the pages change descriptions and tags; needs the token."
            ),
            click.option(
                "--allow-host",
                multiple=True,
                metavar="NAME",
                help="Accept requests for this host name, such as that of a proxy. Repeatable.",
            ),
            click.option(
                "--port",
                default=port,
                type=click.IntRange(0, 65535),
                help=f"Port; 0 selects a free one. [default: {note}]",
            ),
            click.option(
                "--host",
                default="127.0.0.1",
                show_default=True,
                help="Address to listen on; for others than this machine, requests need the token.",
            ),
        ):
            function = each(function)
        return function

    return decorate


def run_server(
    session: Session,
    extra: str,
    *,
    host: str,
    port: int | None,
    allow_host: tuple[str, ...],
    edit: bool,
    page: "Callable[[Repository], str] | None" = None,
    browser: bool = False,
) -> None:
    """Serve the repository until Ctrl-C.

    Args:
        session: the command's session.
        extra: what installs the packages that it needs.
        host: the address to listen on.
        port: the port; None takes `PORT`, or a free one if that is in use.
        allow_host: further names of the server.
        edit: whether the pages change descriptions and tags.
        page: returns the path and query of the page whose address is printed, in place of the server's own.
        browser: whether a browser opens the page.
    """
    from dataver.errors import InvalidInput

    try:
        from dataver.web import serve
    except InvalidInput as error:
        error.hint = f"pip install 'dataver[{extra}]'"
        raise
    keep_freed_memory()
    repository = session.repository()
    address = None if page is None else page(repository)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: complete the current responses

    def start(number: int) -> "Server":
        return serve(
            repository,
            host,
            number,
            names=allow_host,
            report=session.out.warn,
            token=os.environ.get("DATAVER_TOKEN"),
            editing=edit,
        )

    server = _on_a_free_port(session, start) if port is None else start(port)
    server.prepare()
    try:
        _tell(session, server, repository.url, address)
        if address and browser and not _open(server.page(address, once=True)):
            session.out.note("No browser can be started here: open the address.")
        server.wait()
    except KeyboardInterrupt:
        if not server.close():
            session.out.warn(
                "some responses were not complete; their clients see that the body is too short."
            )


def _on_a_free_port(session: Session, start: "Callable[[int], Server]") -> "Server":
    from dataver.errors import Conflict

    try:
        return start(PORT)
    except Conflict:
        server = start(0)
        session.out.note(f"Port {PORT} is in use; this server has port {server.port}.")
        return server


def _tell(session: Session, server: "Server", repository: str, address: str | None) -> None:
    """Print where the server is, as text or as one line of JSON."""
    if not server.local:
        session.out.warn(
            f"all clients that reach {server.host} and have the token can read {repository}; "
            "connections are not encrypted."
        )
    shown = server.page(*filter(None, [address])) if address or server.token else f"{server.url}/"
    if session.out.as_json:
        value = {
            "url": server.url,
            "host": server.host,
            "port": server.port,
            "token": server.token,
            "page": shown,
            "repository": repository,
        }
        click.echo(json_text(value))
    elif session.out.quiet and server.token and "DATAVER_TOKEN" not in os.environ:
        click.echo(shown)  # nothing else says the token
    else:
        session.out.note(f"{repository} is at {shown} until Ctrl-C.")


def _open(url: str) -> bool:
    """Open a browser with windows; return whether there is one."""
    windows = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    try:
        return windows and webbrowser.open(url)
    except webbrowser.Error:
        return False
