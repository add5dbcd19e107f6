"""Pages of a repository for a browser, on the server of `dataver.web`."""

from dataver.ui.site import PREFIX, Site, page_url

__all__ = ["PREFIX", "Site", "page_url"]
