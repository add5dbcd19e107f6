"""A read-only HTTP server of a repository's versions for this machine."""

from dataver.web.server import Server, serve

__all__ = ["Server", "serve"]
