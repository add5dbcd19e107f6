"""What a repository holds and how it is named, read and published."""

from dataver.repository.blocks import Blocks
from dataver.repository.packs import Packs
from dataver.repository.publish import Outcome, create_once, publish
from dataver.repository.records import Published, Records
from dataver.repository.repository import Repository, init_repository, open_repository
from dataver.repository.tags import Tags

__all__ = [
    "Blocks",
    "Outcome",
    "Packs",
    "Published",
    "Records",
    "Repository",
    "Tags",
    "create_once",
    "init_repository",
    "open_repository",
    "publish",
]
