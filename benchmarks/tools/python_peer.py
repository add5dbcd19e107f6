"""Peers that are libraries: driven by a script under `drivers/`, by a Python that has them installed."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from benchmarks.measure import Command, run
from benchmarks.tools.base import Tool, find_program

__all__ = ["PythonPeer"]

_DRIVERS = Path(__file__).parent.parent / "drivers"


class PythonPeer(Tool):
    """A library; start-up of Python and its import are part of every figure, as for its users.

    Attributes:
        package: its name on PyPI.
        module: the name it is imported by.
        driver: the script that drives it.
    """

    executable = "python"
    package: ClassVar[str]
    module: ClassVar[str]
    driver: ClassVar[str]

    @classmethod
    def find(cls) -> list[str] | None:
        for python in (find_program(cls.name, cls.executable), [sys.executable]):
            if python and _can_import(python, cls.module):
                return python
        return None

    def version(self) -> str:
        return self.do("-c", f"import importlib.metadata as m; print(m.version({self.package!r}))").strip()

    def start(self) -> list[Command]:
        return [self.command("-c", f"import {self.module}")]

    def drive(self, *words: str | Path) -> Command:
        """Return a call of the driver, copied out of this checkout: ClearML inspects what git is around."""
        script = self.home / self.driver
        if not script.exists():
            shutil.copy(_DRIVERS / self.driver, script)
        return self.command(script, *words, cwd=self.home)

    def drive_now(self, *words: str | Path) -> str:
        """Call the driver as preparation."""
        return run(self.drive(*words))


def _can_import(python: list[str], module: str) -> bool:
    try:
        done = subprocess.run([*python, "-c", f"import {module}"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0
