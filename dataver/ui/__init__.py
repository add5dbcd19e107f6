"""Pages of a repository for a browser, on the server of `dataver.web`."""

from dataver.ui.site import PREFIX, STATIC, STATUS, Site, page_url

__all__ = ["PREFIX", "STATIC", "STATUS", "Site", "page_url"]
