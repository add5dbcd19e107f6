"""File systems that lack something: everything works, and errors that tell of lost bytes are errors."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataver.storage.durable import lacks_links, replace_file

SCRIPT = Path(__file__).parents[2] / "scripts" / "lacking.py"
TOGETHER = [("EINVAL", "EPERM"), ("EOPNOTSUPP", "EMLINK"), ("ENOSYS", "ENOENT"), ("EBADF", "EXDEV")]


def traces():
    try:
        command = ["strace", "-qq", "-o", os.devnull, "-e", "trace=fsync", "true"]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not traces(), reason="strace cannot run here")
@pytest.mark.parametrize(("fsync", "link"), TOGETHER)
def test_every_command_works_where_folders_cannot_be_flushed_nor_files_linked(fsync, link):
    """Whatever the file system answers to these calls."""
    command = [sys.executable, str(SCRIPT), f"fsync={fsync}", f"link={link}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "1 file systems, nothing wrong\n")


def test_errors_that_tell_of_lost_bytes_are_not_taken_for_a_lack_of_links():
    """A full disk, a failing one, one that may not be written."""
    for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        assert not lacks_links(OSError(code, ""))
    assert lacks_links(OSError(errno.EMLINK, ""))


@pytest.mark.parametrize("durable", [True, False])
def test_a_replaced_file_holds_the_old_or_the_new(tmp_path, durable):
    """Parts of text and bytes in order; a failure leaves the old content and nothing beside it."""
    path = tmp_path / "x"
    replace_file(path, "ü", b"\xff", durable=durable)
    assert path.read_bytes() == b"\xc3\xbc\xff"
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, b"new", "\udcff", durable=durable)
    assert path.read_bytes() == b"\xc3\xbc\xff"
    assert os.listdir(tmp_path) == ["x"]
