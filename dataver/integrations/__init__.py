"""Plug-ins for other packages, loaded by entry point or by import."""
