"""A read-only HTTP server of a repository's versions for this machine."""

from dataver.errors import InvalidInput

try:
    from dataver.web.server import Server, serve
except ModuleNotFoundError as error:
    if str(error.name).startswith("dataver"):
        raise
    raise InvalidInput(
        f"serving over HTTP needs the Python package {error.name}, which is not installed.",
        hint="pip install 'dataver[serve]'",
    ) from error

__all__ = ["Server", "serve"]
