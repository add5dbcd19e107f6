"""Markdown of a dataset as HTML that is safe to show: without its own HTML, then sanitised."""

from typing import Final

import nh3
from markdown_it import MarkdownIt

__all__ = ["as_html"]

_LONGEST: Final = 200_000  # characters
_MARKDOWN: Final = MarkdownIt("js-default", {"html": False, "linkify": False, "typographer": False})
_TAGS: Final = (nh3.ALLOWED_TAGS | {"del"}) - {"img", "map", "area", "ruby", "rt", "rp", "rtc", "bdo"}


def as_html(text: str) -> str:
    """Return the HTML of a text in Markdown. Pictures become their description: no page loads others."""
    return nh3.clean(_MARKDOWN.render(text[:_LONGEST]), tags=_TAGS, url_schemes={"http", "https", "mailto"})
