"""The versions of a repository over HTTP, read-only, for this machine: whatever speaks HTTP reads them."""

from dataver.serving.server import Server, serve

__all__ = ["Server", "serve"]
