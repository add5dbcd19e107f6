"""A version as a read-only folder, through FUSE: any program reads it, and only what it reads is fetched."""

from dataver.mounting.mount import Mount, mount

__all__ = ["Mount", "mount"]
