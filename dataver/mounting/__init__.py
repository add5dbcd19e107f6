"""A version as a read-only folder, through FUSE: any program can read it; only the bytes read are fetched."""

from dataver.mounting.mount import Mount, mount

__all__ = ["Mount", "mount"]
