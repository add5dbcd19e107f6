"""Separate environments for tests that need additional packages: one per name, reused while nothing changes.

The packages of a name, the project table of dataver's `pyproject.toml` and the version of Python are recorded
with the environment. If any of them has changed, the environment is created again.
"""

import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from time import monotonic

__all__ = ["ROOT", "main", "prepare"]

ROOT = Path(__file__).resolve().parent.parent


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


def main(
    packages: Mapping[str, tuple[str, ...]],
    check: Callable[[str, Path, list[str]], int],
) -> int:
    """Prepare and check the environments that the command line names (FOLDER [NAME…] [-- arguments]).

    Prints the results; without a folder, or with an unknown name, only how the script is called.

    Args:
        packages: of each name.
        check: called with a name, its Python and the arguments; returns 0 on success.
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
    with ThreadPoolExecutor(2) as pool:  # pip waits for the network; tests run one after the other
        coming = {name: pool.submit(prepare, folder / name, packages[name]) for name in names}
        for name, python in coming.items():
            print(f"== {name}", flush=True)
            began = monotonic()
            code = check(name, python.result(), arguments)
            said.append((name, code, monotonic() - began))
    for name, code, seconds in said:
        print(f"{name:10} {'passed' if code == 0 else f'FAILED ({code})'} {seconds:5.0f} s")
    return int(any(code for _, code, _ in said))
