"""Bytes and values: what every stored object looks like (invariant 7: no I/O)."""
