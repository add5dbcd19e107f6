"""`dataver run -- command`: any command as one run, in any language.

The command and its child processes get the run in `DATAVER_RUN`. Each process that uses dataver records its
own links, and appends their repositories to a file. After the end of the command, the launcher records the
outcome in each of these repositories, since only the exit code determines it.

Signals are forwarded to the command; the launcher returns its exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from dataver.errors import message_of
from dataver.formats.event import RunFacts
from dataver.lineage import settings
from dataver.lineage.attribution.owner import NAME, NOTES, RUN, fresh_key
from dataver.lineage.attribution.state import PARENT
from dataver.lineage.capture import environment
from dataver.lineage.capture.contexts import look
from dataver.lineage.record.queue_file import QueueFile, queue_folder
from dataver.lineage.record.run import Run, now
from dataver.lineage.trackers.runs_in_environment import announced_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from subprocess import Popen

    from dataver.repository import RepositoryCore

    Options = Mapping[str, Any] | None

# Imports in functions: the program starts before they are needed.

__all__ = ["Launch"]

_FORWARDED: Final = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGWINCH,
)  # fmt: skip
_BY_USER: Final = (130, 143)  # exit codes of shells and Python after Ctrl-C and SIGTERM
_SECONDS: Final = 10.0


class Launch:
    """The execution of one command.

    Attributes:
        run: the run.
        repositories: `local_name`, URL and options of the repositories that it used; complete after its end.
    """

    def __init__(self, command: Sequence[str], *, name: str | None = None, key: str | None = None) -> None:
        self.command = list(command)
        self.repositories: dict[str, tuple[str, Options]] = {}
        self.run = Run(RunFacts(key or fresh_key(), os.urandom(16).hex(), 1, now(), name))
        self.run.know((*announced_runs(), *look().contexts))
        self._facts: dict[str, Any] = {}
        self._attachments: dict[str, bytes] = {}

    def wait(self) -> int:
        """Run the command; return its exit code, or 128 plus the number of the signal that ended it.

        Raises:
            OSError: it cannot be started.
        """
        import subprocess

        handle, notes = tempfile.mkstemp(prefix="dataver-run-")
        os.close(handle)
        names = {RUN: self.run.key, NOTES: notes, NAME: self.run.facts.name or ""}
        variables = {name: value for name, value in os.environ.items() if name != PARENT} | names
        try:
            folder = environment.code_folder(script=False)
            self._facts = environment.at_once(folder)
            with _Forwarding() as signals:
                process = subprocess.Popen(self.command, env=variables)  # noqa: S603  # the user's command
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

    def tell(self, open_repository: Callable[[str, Options], RepositoryCore]) -> None:
        """Send the outcome to the repositories; events that cannot be sent remain queued. Never raises.

        Args:
            open_repository: opens a repository by its URL and the options of its store, without secrets.
        """
        self.run.change(facts=self._facts)
        for repository, (url, options) in self.repositories.items():
            head = {"parent": None, "url": url, "options": options}
            queue = QueueFile(queue_folder(repository), self.run.facts.process, head)
            for digest, raw in self._attachments.items():
                queue.keep(digest, raw)
            queue.add(queue.run(self.run.facts))

            def send(url: str = url, options: Options = options, queue: QueueFile = queue) -> None:
                from dataver.lineage.record.sender import send_left, send_queue

                try:
                    queue.repo = open_repository(url, options)
                    send_queue(queue, bare=True)
                    queue.close(delete=True)
                    send_left(queue.repo)
                except Exception as error:  # noqa: BLE001  # invariant 8: only the command's exit code matters
                    why = message_of(error)
                    settings.warn(f"lineage is queued in {queue.path.parent} and sent later: {why}")

            thread = threading.Thread(target=send, daemon=True)
            thread.start()
            thread.join(_SECONDS)

    def _capture(self, folder: Path | None) -> None:
        """Capture the facts of the code while the command runs."""
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
            settings.warn(f"lineage was not recorded completely: {type(error).__name__}: {error}.")

    def _read(self, notes: str) -> None:
        for line in Path(notes).read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):  # its process was killed in the middle
                self.repositories |= {
                    name: (url, options) for name, (url, options) in json.loads(line).items()
                }


class _Forwarding:
    """Context manager that forwards signals to the command."""

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
        """Set the process, and send it the signals that arrived before."""
        self._process = process
        while self._early:
            process.send_signal(self._early.pop(0))

    def _forward(self, number: int, _: object) -> None:
        if number in (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH) and _in_terminal():
            return  # the terminal has also sent it to the command
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)  # no effect once the process has ended


def _in_terminal() -> bool:
    """Return whether a terminal sends its signals to this process's group, in the foreground."""
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
