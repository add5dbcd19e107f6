"""Interfaces of other tools, on a dataver repository."""
