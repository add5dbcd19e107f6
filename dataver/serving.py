"""The documented name of `dataver.web.serve`."""

from dataver.web import Server, serve

__all__ = ["Server", "serve"]
