"""Markdown of a dataset as HTML that is safe to show: without its own HTML, then sanitised."""

from html import escape
from typing import Final

import nh3
from markdown_it import MarkdownIt

__all__ = ["LONGEST", "as_html"]

LONGEST: Final = 30_000
"""Characters of a page that are parsed."""

_BRACKETS: Final = 2_000  # open ones take time with the square of their number
_SHOWN: Final = 200_000  # characters
_MARKDOWN: Final = MarkdownIt("js-default", {"html": False, "linkify": False, "typographer": False})
_TAGS: Final = (nh3.ALLOWED_TAGS | {"del"}) - {"img", "map", "area", "ruby", "rt", "rp", "rtc", "bdo"}


def as_html(text: str) -> str:
    """Return the HTML of a text in Markdown, of which the rest after `LONGEST` characters is shown as it is.

    Pictures become their description: no page loads others.
    """
    end = len(text) if len(text) <= LONGEST else text.rfind("\n", 0, LONGEST) + 1
    end = end if text.count("[", 0, end) <= _BRACKETS else 0
    found = nh3.clean(_MARKDOWN.render(text[:end]), tags=_TAGS, url_schemes={"http", "https", "mailto"})
    return found + (f"<pre>{escape(text[end:_SHOWN])}</pre>" if end < len(text) else "")
