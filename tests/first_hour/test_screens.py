"""What the main commands show on a terminal of 80 and of 120 columns, compared with kept screens.

`WRITE_SCREENS=1` writes the screens anew. Look at each changed one as a user would.
"""

import fcntl
import os
import platform
import pty
import random
import re
import shutil
import struct
import subprocess
import tempfile
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

SCREENS = Path(__file__).parent / "screens"
HOME = "/home/ana/cats"  # as long as the folder that the commands run in
ROWS = 100
CHANGING = {
    r"20\d\d-\d\d-\d\d \d\d:\d\d": "2026-11-30 12:00",
    r"20\d\d-\d\d-\d\d$": "2026-11-30",
    r"[\d.]+ s\b": "0.10 s",
    r"[\d.]+ MB/s": "99.9 MB/s",
    r"[\d.]+ kB for records": "9.9 kB for records",  # lineage has the list of packages
    r"\d+ objects, [\d.]+ MB": "28 objects, 1.6 MB",
}
MESSAGE = "without the photos of the garden, which were taken by another camera"

COMMANDS = """
dataver list
dataver list vision/cats
dataver show vision/cats
dataver log vision/cats
dataver diff vision/cats@1.0.0 vision/cats
dataver diff --stat vision/cats
dataver ls -l vision/cats
dataver ls vision/cats/train
dataver du
dataver du vision/cats
dataver status
dataver create vision/cats --parent vision/cats
dataver add more --dest train
dataver status
dataver finalize -m 'more photos'
dataver status
dataver upload
dataver sync photos --name vision/cats
dataver fetch vision/cats --dest work
dataver fetch vision/cats --dest work
dataver fetch vision/cats --plan
dataver verify
dataver describe vision/cats@1.0.2 -m "July, checked" --license CC-BY-4.0 --set lux=410
dataver describe vision/cats@1.0.2
dataver describe vision/cats@1.0.2 --history
dataver tag vision/cats@1.0.2 production --history
dataver runs
dataver lineage run train:4f1c
dataver lineage impact vision/cats@1.0.0 --include 'train/0*'
dataver lineage file photos/train/000.jpg
dataver lineage version models/cats --up
dataver audit
dataver config
dataver gc --plan
dataver show vision/dogs
dataver fetch vision/cats@2.0.0
dataver sync empty --name vision/cats
dataver add nothing
dataver upload
dataver fetch
dataver lsit
dataver --repo nowhere list
dataver
dataver sync --help
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder at a path that is always equally long, with photos."""
    folder = Path(tempfile.mkdtemp(prefix="m", dir="/tmp"))
    assert len(str(folder)) == len(HOME)
    chance = random.Random(3)
    for name, count in (("photos/train", 30), ("photos/test", 4), ("more", 20)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number:03}.jpg").write_bytes(chance.randbytes(30_000))
    (folder / "empty").mkdir()
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


class Terminal:
    """A terminal of a width, in a folder."""

    def __init__(self, home: Path, programs: Path, columns: int) -> None:
        self.home, self.columns = home, columns
        self._environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "LOGNAME": "ana",
            "DATAVER_AUTHOR": "ana",
            "TERM": "xterm-256color",
            "PAGER": "cat",
        }

    def show(self, command: str) -> list[str]:
        """Return the lines of the screen after a command, and its exit code if that is not 0."""
        screen = pyte.Screen(self.columns, ROWS)
        stream = pyte.ByteStream(screen)
        master, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, self.columns, 0, 0))
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=self.home,
            env=self._environment,
            start_new_session=True,
        )
        timer = threading.Timer(180, process.kill)
        timer.start()
        os.close(side)
        try:
            while piece := os.read(master, 65536):
                stream.feed(piece)
        except OSError:  # the command has closed the terminal
            pass
        os.close(master)
        code = process.wait()
        timer.cancel()
        lines = [line.rstrip() for line in screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return [*lines, f"(exit code {code})"] if code else lines


def prepare(terminal: Terminal) -> None:
    """Make three versions, a model of the first one, and a tag."""
    for command in (
        "dataver init repository",
        "echo 'dataver fetch vision/cats@1.0.0 && dataver sync more --name models/cats' > train.sh",
        "dataver sync photos --name vision/cats -m 'as delivered'",
        "dataver run --run train:4f1c -- sh train.sh",
        "rm photos/train/02* && mv photos/test/001.jpg photos/test/cat.jpg && date > photos/README",
        f"dataver sync photos --name vision/cats -m '{MESSAGE}'",
        "echo license > photos/LICENSE",
        "dataver sync photos --name vision/cats --tag production --tag reviewed",
    ):
        shown = terminal.show(command)
        assert "(exit code" not in "".join(shown), shown


def normalised(line: str, home: Path) -> str:
    """Replace what changes from run to run."""
    line = line.replace(str(home), HOME).replace(f"ana on {platform.node()}", "ana on laptop")
    for pattern, text in CHANGING.items():
        line = re.sub(pattern, text, line)
    return re.sub(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,64}\b", lambda found: "e" * len(found[0]), line)


@pytest.mark.parametrize("columns", [80, 120])
def test_screens(home: Path, programs: Path, columns: int) -> None:
    """Each command shows the kept screen."""
    terminal = Terminal(home, programs, columns)
    prepare(terminal)
    screens = []
    for command in COMMANDS.strip().splitlines():
        screens += [f"$ {command}", *(normalised(line, home) for line in terminal.show(command)), ""]
    kept = SCREENS / f"{columns}.txt"
    if os.environ.get("WRITE_SCREENS"):
        kept.write_text("\n".join(screens), "utf-8")
    assert "\n".join(screens) == kept.read_text("utf-8")
