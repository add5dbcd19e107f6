"""What an upload would send, before anything is sent.

One idea: the same walk of the draft that the upload makes; then the store is asked which packs it has
already, which is what an upload that was interrupted finds, too.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dataver.ingest.draft import DraftCore
from dataver.ingest.upload import parts_of_draft
from dataver.repository import Repository
from dataver.repository.rates import Rate, recall

__all__ = ["UploadPlan", "plan_upload"]

_ASKING = 16  # existence questions at once
_OVERHEAD = 6  # requests for the hold, the sweeps, the labels and the record, as a test counts them


@dataclass(frozen=True)
class UploadPlan:
    """What an upload would do.

    Attributes:
        files: files of the version.
        size: bytes of them.
        packs: packs to be sent.
        blocks: tree blocks to be sent.
        transferred: bytes of both.
        there: packs of the draft that the repository has already.
        requests: what the store is asked, about.
        seconds: expected time; None where the speed is not known.
        speed: bytes a second that this is reckoned with, and where the number is from; None likewise.
        already: the version is published; nothing is left to do.
    """

    files: int
    size: int
    packs: int
    blocks: int
    transferred: int
    there: int
    requests: int
    seconds: float | None
    speed: Rate | None
    already: bool


def plan_upload(draft: DraftCore, repository: Repository, *, parents: int, published: bool) -> UploadPlan:
    """Return what uploading a draft would do; asks which of its packs are there, and writes nothing."""
    summary = draft.tree.summary()
    if published:
        return UploadPlan(summary.files, summary.size, 0, 0, 0, 0, 0, 0.0, None, already=True)
    packs, blocks, others = parts_of_draft(draft)
    with ThreadPoolExecutor(_ASKING) as pool:
        there = [
            pack for pack, found in zip(packs, pool.map(repository.packs.exists, packs), strict=True) if found
        ]
    left = len(packs) - len(there)
    size = sum(size for pack, size in packs.items() if pack not in there) + sum(blocks.values())
    speed = recall(repository.id, "upload")
    return UploadPlan(
        files=summary.files,
        size=summary.size,
        packs=left,
        blocks=len(blocks),
        transferred=size,
        there=len(there),
        requests=2 * left + len(there) + 2 * len(blocks) + len(others) + parents + _OVERHEAD,
        seconds=size / speed.speed if speed else None,
        speed=speed,
        already=False,
    )
