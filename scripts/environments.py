"""Separate environments for tests that need additional packages: one per name, reused while nothing changes.

The packages of a name, the project table of dataver's `pyproject.toml` and the version of Python are recorded
with the environment. If any of them has changed, the environment is created again.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from hashlib import blake2b
from pathlib import Path
from time import monotonic

__all__ = ["ROOT", "Suite", "main", "prepare"]

ROOT = Path(__file__).resolve().parent.parent

Suite = Callable[[str, Path], tuple[Sequence[str], Mapping[str, str]]]
"""Returns arguments of pytest, such as the files, and environment variables, given a name and its Python."""


def prepare(home: Path, packages: tuple[str, ...]) -> Path:
    """Make an environment with dataver, pytest and some packages, or take the one that is there.

    Args:
        home: its folder.
        packages: what pip is to install besides.

    Returns:
        Its Python.
    """
    python, stamp = home / "bin" / "python", home / ".installed"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = f"{sys.version}\n{packages}\n{project}\n{ROOT}"
    mark = blake2b(wanted.encode(), digest_size=16).hexdigest()
    if stamp.is_file() and stamp.read_text("utf-8") == mark:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    ours = ["--editable", str(ROOT), "pytest"]
    subprocess.run([*install, *ours, *packages], check=True)
    stamp.write_text(mark, "utf-8")
    return python


def main(packages: Mapping[str, tuple[str, ...]], suite: Suite) -> int:
    """Prepare and test the environments that the command line names (FOLDER [NAME…] [-- arguments]).

    Two are tested at a time, as tests of other programs mostly wait for them. The output of each is printed
    when it ends, and the results at the end; without a folder, or with an unknown name, only the usage.

    Args:
        packages: of each name.
        suite: the tests of each name.
    """
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given, arguments = sys.argv[1:cut], sys.argv[cut + 1 :]
    if not given or given[0].startswith("-"):
        sys.exit(sys.modules["__main__"].__doc__)
    folder, names = Path(given[0]).resolve(), given[1:] or list(packages)
    if unknown := [name for name in names if name not in packages]:
        sys.exit(f"unknown name {unknown[0]}; choose from {', '.join(packages)}")
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    with ThreadPoolExecutor(2) as preparing, ThreadPoolExecutor(2) as testing:
        coming = {name: preparing.submit(prepare, folder / name, packages[name]) for name in names}
        done = [
            testing.submit(_test, name, coming[name], suite, arguments, alone=len(names) == 1)
            for name in names
        ]
        for each in as_completed(done):
            name, code, seconds, output = each.result()
            print(f"== {name}\n{output}", flush=True)
            said.append((name, code, seconds))
    for name, code, seconds in said:
        print(f"{name:10} {'passed' if code == 0 else f'FAILED ({code})'} {seconds:5.0f} s")
    return int(any(code for _, code, _ in said))


def _test(
    name: str, coming: Future[Path], suite: Suite, arguments: Sequence[str], *, alone: bool
) -> tuple[str, int, float, str]:
    """Run the tests of an environment; return its name, pytest's exit code, seconds and the output.

    The output of one that is tested `alone` is shown at once.
    """
    python = coming.result()
    began = monotonic()
    given, environment = suite(name, python)
    command = [python, "-m", "pytest", "-o", "filterwarnings=default", "--disable-warnings"]
    done = subprocess.run(
        [*command, *given, *arguments],
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=None if alone else subprocess.PIPE,
        stderr=None if alone else subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return name, done.returncode, monotonic() - began, done.stdout or ""
