"""Checks of a repository, its store and this machine, for the command `dataver doctor`.

The idea: one check answers one question, and no check ends the others. A check is `ok`, a `warning` (the
repository works, with a limitation), `failed` (with the error that a command would raise, and the next step)
or `skipped` (an earlier failure makes it meaningless).
"""

from dataver.doctor.examination import Examination, examine
from dataver.doctor.findings import Check

__all__ = ["Check", "Examination", "examine"]
