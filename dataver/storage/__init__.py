"""Where keys live: the store contract, a local folder, S3, any fsspec URL, memory; and a disk cache."""

from dataver.storage.base import BytesLike, Data, ObjectChanged, ObjectInfo, Pin, Store
from dataver.storage.cache import DiskCache
from dataver.storage.local import LocalStore
from dataver.storage.memory import MemoryStore
from dataver.storage.probe import probe_exclusive_create
from dataver.storage.url import open_store

__all__ = [
    "BytesLike",
    "Data",
    "DiskCache",
    "LocalStore",
    "MemoryStore",
    "ObjectChanged",
    "ObjectInfo",
    "Pin",
    "Store",
    "open_store",
    "probe_exclusive_create",
]
