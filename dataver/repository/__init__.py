"""Repositories: their objects and keys, and how versions are resolved, read and published."""

from dataver.repository.blocks import Blocks
from dataver.repository.packs import Packs
from dataver.repository.records import Published, Records
from dataver.repository.repository import RepositoryCore, init_repository, open_repository, opened
from dataver.repository.resolve import Ref, ref_text
from dataver.repository.tags import Tags

__all__ = [
    "Blocks",
    "Packs",
    "Published",
    "Records",
    "Ref",
    "RepositoryCore",
    "Tags",
    "init_repository",
    "open_repository",
    "opened",
    "ref_text",
]
