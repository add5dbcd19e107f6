"""Plug-ins: what other packages load from dataver, by entry point or by import. Nothing here needs them."""
