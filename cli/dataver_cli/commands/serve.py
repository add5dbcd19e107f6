"""`dataver serve`."""

import signal

import click

from dataver_cli.command import subcommand
from dataver_cli.memory import keep_freed_memory
from dataver_cli.output import json_text
from dataver_cli.session import Session


@subcommand(
    "serve",
    examples="""
        dataver serve
        dataver serve --port 0 --json       # prints a line with the URL when it is ready
        dataver serve --host 0.0.0.0        # also for other machines, without any password
    """,
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0 selects a free one.",
)
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="Accept requests for this host name. Repeatable."
)
def command(session: Session, host: str, port: int, allow_host: tuple[str, ...]) -> None:
    """Serve versions over HTTP to programs on this machine.

    Files are at http://localhost:8765/NAME@LABEL/PATH, whole or in ranges, with every byte verified. Folders
    are listed as HTML, and with ?format=json as JSON. The server is read-only. It runs until Ctrl-C.

    It needs the optional packages that `pip install 'dataver[serve]'` installs.
    """
    from dataver.web import serve

    keep_freed_memory()
    repository = session.repository()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: complete the current responses
    server = serve(repository, host, port, names=allow_host, report=session.out.warn)
    try:
        if not server.local:
            session.out.warn(
                f"all clients that reach {server.host} can read {repository.url}; there is no password."
            )
        if session.out.as_json:
            value = {
                "url": server.url,
                "host": server.host,
                "port": server.port,
                "repository": repository.url,
            }
            click.echo(json_text(value))
        else:
            session.out.note(f"{repository.url} is at {server.url}/ until Ctrl-C.")
        server.wait()
    except KeyboardInterrupt:
        if not server.close():
            session.out.warn(
                "some responses were not complete; their clients see that the body is too short."
            )
