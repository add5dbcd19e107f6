"""Detect a web page that a proxy or a login form returned in place of an object."""

from dataver.errors import IntegrityError

__all__ = ["refuse_web_page"]


def refuse_web_page(data: bytes | memoryview, what: str) -> None:
    """Raise an `IntegrityError` if bytes begin like a web page; no object of a repository does.

    Call it only for bytes that failed to parse as the object: the content of a file may be a web page.
    """
    if bytes(data[:64]).lstrip()[:1] == b"<":
        raise IntegrityError(
            f"{what} is a web page, such as a proxy or a login form returns",
            hint="look for a proxy between here and the store, and repeat the command",
        )
