"""The tools under test, in the order of the tables: dataver, its peers, the two limits."""

from benchmarks.tools.base import Tool
from benchmarks.tools.borg import Borg
from benchmarks.tools.bup import Bup
from benchmarks.tools.casync import Casync
from benchmarks.tools.clearml import ClearMl
from benchmarks.tools.cp import Cp
from benchmarks.tools.dataver import Dataver
from benchmarks.tools.dvc import Dvc
from benchmarks.tools.git_lfs import GitLfs
from benchmarks.tools.hf_xet import HfXet
from benchmarks.tools.oxen import Oxen
from benchmarks.tools.restic import Restic
from benchmarks.tools.tar import Tar

__all__ = ["TOOLS", "Tool"]

TOOLS: dict[str, type[Tool]] = {
    tool.name: tool
    for tool in (Dataver, Restic, Borg, HfXet, Casync, Bup, Dvc, Oxen, GitLfs, ClearMl, Cp, Tar)
}
