"""Encoding and parsing of every stored object, without I/O (invariant 7)."""
