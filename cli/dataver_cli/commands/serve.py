"""`dataver serve`."""

from dataver_cli.command import subcommand
from dataver_cli.server import PORT, run_server, server_options
from dataver_cli.session import Session


@subcommand(
    "serve",
    examples="""
        dataver serve
        dataver serve --port 0 --json       # prints a line with the URL when it is ready
        dataver serve --host 0.0.0.0        # also for other machines that have the token
    """,
)
@server_options(PORT, str(PORT))
def command(session: Session, host: str, port: int, allow_host: tuple[str, ...], *, edit: bool) -> None:
    """Serve versions over HTTP to programs and browsers.

    Files are at http://localhost:8765/NAME@LABEL/PATH, whole or in ranges, with every byte verified. Folders
    are listed as HTML, and with ?format=json as JSON. Pages for people are at /-/, which `dataver ui` opens.
    The server is read-only without --edit. It runs until Ctrl-C.

    With --host for others than this machine, and with --edit, every request needs a token: in the address
    that is printed, or in the header `Authorization: Bearer TOKEN`. It is a new one at each start, or that
    of DATAVER_TOKEN, which is then needed on this machine as well.

    It needs the optional packages that `pip install 'dataver[serve]'` installs.
    """
    run_server(session, "serve", host=host, port=port, allow_host=allow_host, edit=edit)
