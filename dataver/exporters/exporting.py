"""Export of a version: the formats, and what they write.

    folder        the files, writable
    tar           one tar file; "-" is standard output
    webdataset    tar files of a bounded size, samples undivided
    dvc           a remote of DVC 3, and a `.dvc` file
    hf            the files and a dataset card, as the Hugging Face Hub has them

Every byte is verified. What a format cannot have is left out and reported (invariant 10).
"""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dataver.api.version import Version
from dataver.arguments import check_range, check_word
from dataver.checkout.materialise import local_errors
from dataver.errors import Conflict, InvalidInput
from dataver.exporters.archives import write_shards, write_tar
from dataver.exporters.contents import is_file, new_file
from dataver.exporters.dvc import write_dvc
from dataver.exporters.hf import write_card
from dataver.progress import SILENT, Progress, receiver
from dataver.short_repr import short_repr

__all__ = ["FORMATS", "SHARD_SIZE", "ExportReport", "check_target", "export_version"]

FORMATS: Final = ("folder", "tar", "webdataset", "dvc", "hf")
SHARD_SIZE: Final = 1 << 30


@dataclass
class ExportReport:
    """Result of an export.

    Attributes:
        path: the folder or file; "-" for standard output.
        kind: one of `FORMATS`.
        files: files written.
        size: their bytes.
        made: the files that name the data: the tar files of `webdataset`, the `.dvc` file of `dvc`.
        seconds: wall time.
        problems: `(path, reason)` of entries that the format cannot have.
    """

    path: str
    kind: str
    files: int
    size: int
    made: list[str] = field(default_factory=list)
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def export_version(
    version: Version,
    target: str | Path,
    kind: str = "folder",
    *,
    overwrite: bool = False,
    shard_size: int = SHARD_SIZE,
    progress: Progress | bool = SILENT,
) -> ExportReport:
    """Write the files of a version for another tool.

    Args:
        version: the version; published.
        target: the folder; for `tar` the file, or "-".
        kind: one of `FORMATS`.
        overwrite: write into a folder that is not empty, and replace files that differ.
        shard_size: for `webdataset`, the bytes of a tar file.
        progress: receives counts of files and bytes; True shows a bar.

    Raises:
        Conflict: the target exists, and `overwrite` is off; nothing was written.
        InvalidInput: the version is not uploaded, or there is no such format.
        IntegrityError: the repository holds damaged bytes.
        StoreError: the store or the disk failed.
    """
    began = time.perf_counter()
    check_word("kind", kind, FORMATS)
    check_range("shard_size", shard_size, 1)
    if str(target) == "-" and kind != "tar":
        raise InvalidInput(
            f"{kind} cannot be written to standard output.", hint="add --format tar, or name a folder"
        )
    check_target(target, overwrite=overwrite)
    report = ExportReport(str(target), kind, version.file_count, version.size)
    with local_errors(Path(target)), receiver(progress, "Exporting") as shown:
        shown.start(version.file_count, version.size)
        path = Path(target)
        if kind in ("folder", "hf"):
            report.problems = version.fetch(dest=path, overwrite=overwrite, progress=shown).problems
        if kind == "hf":
            write_card(path, version)
        elif kind == "tar":
            _write_tar(path, version, shown)
        elif kind == "webdataset":
            made, older = write_shards(path, version, shard_size, shown)
            report.made = [str(each) for each in made]
            report.problems = [(str(each), "it is a shard of an earlier export; delete it") for each in older]
        elif kind == "dvc":
            report.made = [str(write_dvc(path, version, shown))]
    if kind in ("webdataset", "dvc"):
        others = (entry.path for entry in version.entries() if not is_file(entry))
        report.problems += [(path, "it is a link or an empty folder") for path in others]
    report.seconds = time.perf_counter() - began
    return report


def check_target(target: str | Path, *, overwrite: bool) -> None:
    """Refuse a target that exists.

    Raises:
        Conflict: it is a file, or a folder that is not empty.
    """
    path = Path(target)
    if overwrite or str(target) == "-" or not path.exists():
        return
    if not path.is_dir() or any(path.iterdir()):
        what = "is a folder that is not empty" if path.is_dir() else "exists"
        raise Conflict(f"{path} {what}.", hint="choose another name, or add --overwrite")


def _write_tar(target: Path, version: Version, progress: Progress) -> None:
    if str(target) == "-":
        write_tar(sys.stdout.buffer, version, version.entries(), progress)
        sys.stdout.buffer.flush()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_file(target) as out:
        write_tar(out, version, version.entries(), progress)
