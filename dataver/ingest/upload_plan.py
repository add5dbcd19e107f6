"""Plan of an upload.

The idea: walk the draft as the upload does, then query which packs the store has already, as a resumed upload
does, too.
"""

from dataclasses import dataclass

from dataver import parallel
from dataver.ingest.draft import DraftCore
from dataver.ingest.upload import parts_of_draft
from dataver.machine.speeds import Rate, recent_rate
from dataver.short_repr import short_repr

__all__ = ["UploadPlan", "plan_upload"]

_OVERHEAD = 7  # requests for the hold, the sweeps, the labels, the turn and the record; a test counts them


@dataclass(frozen=True)
class UploadPlan:
    """Plan of an upload.

    Attributes:
        files: files of the version.
        size: their bytes.
        packs: packs to be sent.
        blocks: tree blocks to be sent.
        transferred: bytes of both.
        there: packs of the draft that the repository has already.
        requests: approximate number of requests to the store.
        seconds: expected time; None if the speed is unknown.
        speed: the assumed bytes per second, and the origin of the number; None if unknown.
        already: the version is already published.
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

    __repr__ = short_repr


def plan_upload(draft: DraftCore) -> UploadPlan:
    """Return the plan of uploading a draft; queries which of its packs exist, and writes nothing."""
    summary = draft.tree.summary()
    if draft.state.published is not None:
        return UploadPlan(summary.files, summary.size, 0, 0, 0, 0, 0, 0.0, None, already=True)
    repository = draft.repository
    packs, blocks, others = parts_of_draft(draft)
    with parallel.pool(parallel.REQUESTS, "ask") as pool:
        there = [
            pack for pack, found in zip(packs, pool.map(repository.packs.exists, packs), strict=True) if found
        ]
    left = len(packs) - len(there)
    size = sum(size for pack, size in packs.items() if pack not in there) + sum(blocks.values())
    speed = recent_rate(repository.local_name, "upload")
    return UploadPlan(
        files=summary.files,
        size=summary.size,
        packs=left,
        blocks=len(blocks),
        transferred=size,
        there=len(there),
        requests=2 * (left + len(blocks) + draft.profiles.exists())
        + len(there)
        + len(others)
        + len(draft.state.parents)
        + _OVERHEAD,
        seconds=size / speed.speed if speed else None,
        speed=speed,
        already=False,
    )
