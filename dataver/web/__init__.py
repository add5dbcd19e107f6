"""An HTTP server of a repository's versions and their pages."""

from dataver.errors import InvalidInput

try:
    from dataver.ui import page_url
    from dataver.web.server import Server, serve
except ModuleNotFoundError as error:
    if str(error.name).startswith("dataver"):
        raise
    raise InvalidInput(
        f"serving over HTTP needs the Python package {error.name}, which is not installed.",
        hint="pip install 'dataver[serve]'",
    ) from error

__all__ = ["Server", "page_url", "serve"]
