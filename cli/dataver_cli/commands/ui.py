"""`dataver ui`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.server import PORT, run_server, server_options
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Repository


@subcommand(
    "ui",
    examples="""
        dataver ui
        dataver ui vision/cats              # a dataset
        dataver ui vision/cats@1.0.1        # a version
        dataver ui --edit                   # descriptions and tags can be changed
        dataver ui --no-browser --port 0    # prints the address
    """,
)
@ref_argument(required=False)
@server_options(None, f"{PORT}, or a free one if it is in use")
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
def command(
    session: Session,
    ref: str | None,
    host: str,
    port: int | None,
    allow_host: tuple[str, ...],
    *,
    edit: bool,
    no_browser: bool,
) -> None:
    """Look at datasets, differences, lineage and runs in a browser.

    Opens the list of datasets, or the page of a dataset or a version. The server is that of `dataver serve`,
    with its options; it needs no internet, and only this machine reaches it without --host. It runs until
    Ctrl-C. `dataver serve --help` says when requests need a token.

    It needs the optional packages that `pip install 'dataver[ui]'` installs.
    """

    def page(repository: "Repository") -> str:
        from dataver.web import page_url

        if ref is None:
            return page_url("datasets")
        version = repository.version(ref)  # raises NotFound with similar names
        whole = "@" not in ref and not ref.startswith("dv1:")
        return page_url("dataset", name=version.dataset) if whole else page_url("version", ref=version.ref)

    run_server(
        session,
        "ui",
        host=host,
        port=port,
        allow_host=allow_host,
        edit=edit,
        page=page,
        browser=not no_browser,
    )
