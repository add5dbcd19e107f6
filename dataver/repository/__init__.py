"""Repositories: their objects and keys, and how versions are resolved, read and published."""

from dataver.repository.blocks import Blocks
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.packs import Packs
from dataver.repository.publish import publish
from dataver.repository.records import Published, Records
from dataver.repository.repository import RepositoryCore, init_repository, open_repository
from dataver.repository.resolve import Ref, ref_text
from dataver.repository.tags import Tags

__all__ = [
    "Blocks",
    "Outcome",
    "Packs",
    "Published",
    "Records",
    "Ref",
    "RepositoryCore",
    "Tags",
    "create_once",
    "init_repository",
    "open_repository",
    "publish",
    "ref_text",
]
