"""`dataver serve`."""

import json
import signal

import click

from dataver_cli.command import subcommand
from dataver_cli.memory import keep_freed_memory
from dataver_cli.session import Session


@subcommand(
    "serve",
    examples="""
        dataver serve
        dataver serve --port 0 --json       # prints a line with the URL when it is ready
        dataver serve --host 0.0.0.0        # for other machines too, without any password
    """,
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="A name by which it may be asked too. Repeatable."
)
def command(session: Session, host: str, port: int, allow_host: tuple[str, ...]) -> None:
    """Let any program on this machine read versions over HTTP.

    Files are at http://localhost:8765/NAME@LABEL/PATH, whole or in ranges, every byte checked; folders are
    listed for people, and with ?format=json for programs. Nothing can be changed. Runs until Ctrl-C.
    """
    from dataver.serving import serve

    keep_freed_memory()
    repository = session.repository()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: answers are finished
    server = serve(repository, host, port, names=allow_host, report=session.out.warn)
    try:
        if not server.local:
            session.out.warn(
                f"whoever reaches {server.host} can read all of {repository.url}; there is no password."
            )
        if session.out.as_json:
            value = {
                "url": server.url,
                "host": server.host,
                "port": server.port,
                "repository": repository.url,
            }
            click.echo(json.dumps(value))
        else:
            session.out.note(f"{repository.url} is at {server.url}/ until Ctrl-C.")
        server.wait()
    except KeyboardInterrupt:
        if not server.close():
            session.out.warn("clients were still being answered; they see that what they got is not whole.")
