"""An ext4 file system that is shut down as a power cut would do it; only root can attach one."""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

__all__ = ["Disk"]

_SHUTDOWN = (
    0x8004587D  # _IOR('X', 125, u32), linux/ext4.h: nothing that is not on the disk gets there any more
)
_NO_FLUSH = 2


class Disk:
    """A file system in a file.

    Attributes:
        mount: the folder where it is attached.
    """

    def __init__(self, folder: Path) -> None:
        self.image, self.mount = folder / "image", folder / "disk"
        self.mount.mkdir()
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", self.image], check=True)
        self.attach()

    def attach(self) -> None:
        """Mount it."""
        subprocess.run(["mount", "-o", "loop", self.image, self.mount], check=True, capture_output=True)

    def detach(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", self.mount], check=True)

    def cut(self) -> None:
        """Lose what was not flushed, after another program has flushed a file of its own."""
        with (self.mount / "other").open("w") as other:
            os.fsync(other.fileno())  # which writes the names of all files, and the bytes of none
        folder = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_FLUSH))
        os.close(folder)
        self.detach()
        self.attach()
