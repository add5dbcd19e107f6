"""`dataver run -- command`: any command as one run, whatever it is written in.

The command and all that it starts find the run in `DATAVER_RUN`; each process of dataver among them notes its
own links, and writes into a file which repositories they go to. When the command has ended, the launcher adds
to each of these how it ended, which only the exit code tells for certain.

Signals go on to the command; its exit code is the launcher's.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from dataver.lineage import settings, which_run
from dataver.lineage.capture import environment
from dataver.lineage.capture.contexts import look
from dataver.lineage.noted import NotedRun
from dataver.lineage.queue import QueueFile, queue_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from subprocess import Popen

    from dataver.repository import Repository

__all__ = ["Launch"]

_FORWARDED: Final = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGWINCH,
)  # fmt: skip
_BY_USER: Final = (130, 143)  # what shells and Python make of Ctrl-C and SIGTERM
_SECONDS: Final = 10.0


class Launch:
    """One command that is run.

    Attributes:
        run: the run.
        repositories: id and URL of those that it consumed from or produced in; known when it has ended.
    """

    def __init__(self, command: Sequence[str], *, name: str | None = None, key: str | None = None) -> None:
        self.command = list(command)
        self.repositories: dict[str, str] = {}
        self.run = NotedRun(key or which_run.fresh_key(), os.urandom(16).hex(), "explicit", name=name)
        self.run.know(look().contexts)
        self._facts: dict[str, Any] = {}
        self._attachments: dict[str, bytes] = {}

    def wait(self) -> int:
        """Run the command; return its exit code, or 128 and the number of the signal that ended it.

        Raises:
            OSError: it cannot be started.
        """
        import subprocess

        handle, notes = tempfile.mkstemp(prefix="dataver-run-")
        os.close(handle)
        names = {which_run.RUN: self.run.key, which_run.NOTES: notes, which_run.NAME: self.run.name or ""}
        variables = {name: value for name, value in os.environ.items() if name != which_run.PARENT} | names
        try:
            folder = environment.code_folder(script=False)
            self._facts = environment.at_once(folder)
            with _Forwarding() as signals:
                process = subprocess.Popen(self.command, env=variables)  # noqa: S603  # what the user asked for
                signals.begin(process)
                self._capture(folder)
                code = process.wait()
            self._read(notes)
        finally:
            Path(notes).unlink(missing_ok=True)
        code = 128 - code if code < 0 else code
        killed = process.returncode < 0 or code in _BY_USER
        self.run.end("killed" if killed else "failed" if code else "finished")
        return code

    def tell(self, open_repository: Callable[[str], Repository]) -> None:
        """Tell the repositories how it ended; what cannot be told now waits in the queue. Never raises.

        Args:
            open_repository: opens a repository by its URL.
        """
        for repository, url in self.repositories.items():
            self.run.links[repository] = {}
            event = self.run.event(repository, self._facts, ())
            queue = QueueFile(queue_folder(repository), self.run.process)
            try:
                for digest, raw in self._attachments.items():
                    queue.keep(digest, raw)
                queue.append([event])
            except OSError as error:
                settings.warn(f"the lineage queue {queue.path.parent} cannot be written: {error.strerror}.")

            def send(url: str = url, queue: QueueFile = queue) -> None:
                from dataver.lineage.sending import send, send_left

                try:
                    repo = open_repository(url)
                    send(repo, [event], self._attachments)  # noqa: B023  # awaited below
                    queue.clear()
                    send_left(repo)
                except Exception as error:  # noqa: BLE001  # invariant 8: the command's exit code is what counts
                    settings.warn(f"lineage waits in {queue.path.parent} and is sent later: {error}")

            thread = threading.Thread(target=send, daemon=True)
            thread.start()
            thread.join(_SECONDS)

    def _capture(self, folder: Path | None) -> None:
        """Find out about the code while the command runs."""
        from dataver.formats.bundle import attachment_digest
        from dataver.lineage.capture.redact import redact_arguments

        try:
            self._facts["argv"] = redact_arguments(self.command)
            if folder is None:
                return
            git, diff = environment.git_facts(folder, self._facts.get("git", {}).get("commit"))
            if diff is not None:
                git["diff"] = attachment_digest(diff)
                self._attachments[git["diff"]] = diff
            if git:
                self._facts["git"] = git
        except Exception as error:  # noqa: BLE001  # invariant 8
            settings.warn(f"lineage was not noted in full: {type(error).__name__}: {error}.")

    def _read(self, notes: str) -> None:
        for line in Path(notes).read_text("utf-8").splitlines():
            repository, _, url = line.partition(" ")
            if len(repository) == 32 and url:
                self.repositories[repository] = url


class _Forwarding:
    """Hands signals on to the command while it runs."""

    def __init__(self) -> None:
        self._process: Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _FORWARDED:
            self._before[number] = signal.signal(number, self._forward)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, process: Popen[bytes]) -> None:
        """Take the command; it gets what arrived before it was there."""
        self._process = process
        while self._early:
            process.send_signal(self._early.pop(0))

    def _forward(self, number: int, _: object) -> None:
        if number in (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH) and _in_terminal():
            return  # the terminal has sent it to the command, too
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)  # does nothing once the process has ended


def _in_terminal() -> bool:
    """Return whether this process is in the foreground of a terminal, whose keys reach the whole group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
