"""Stores: the contract, and its implementations for a local folder, S3, any fsspec URL and memory."""

from dataver.storage.base import BytesLike, Data, ObjectChanged, ObjectInfo, Pin, Store
from dataver.storage.local import LocalStore
from dataver.storage.memory import MemoryStore
from dataver.storage.url import open_store

__all__ = [
    "BytesLike",
    "Data",
    "LocalStore",
    "MemoryStore",
    "ObjectChanged",
    "ObjectInfo",
    "Pin",
    "Store",
    "open_store",
]
