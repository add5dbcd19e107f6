"""Run the tests of trackers and orchestrators, each against the real package in an environment of its own.

    python scripts/trackers.py FOLDER [NAME…] [-- pytest's arguments]

Environments are kept in FOLDER and made anew when their packages or dataver's dependencies change. Two are
made at a time, because pip waits for the network; tests run one after the other. Ends with a line a tracker,
and with 1 if any failed.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES: dict[str, tuple[str, ...]] = {
    "mlflow": ("mlflow-skinny>=3.17", "sqlalchemy", "alembic"),  # what a SQLite tracking store needs
    "clearml": ("clearml>=2.1",),
    "zenml": ("zenml[local]>=0.98",),
    "wandb": ("wandb>=0.30",),
    "comet": ("comet-ml>=3.58",),
    "neptune": ("neptune==1.14.*",),
    "prefect": ("prefect>=3.8", "fastapi<0.150"),  # 0.165 refuses an argument that prefect 3.8.8 gives
    "dagster": ("dagster>=1.13",),
    "airflow": ("apache-airflow>=3.1",),
    "tutorial": ("mlflow-skinny>=3.17", "sqlalchemy", "alembic", "scikit-learn"),
    "hal": (),  # a tracker of somebody else's, which its test installs
}
LATER = {"neptune"}  # asks for a botocore that s3fs cannot have: dataver's is installed afterwards, and holds


def prepare(name: str, folder: Path) -> Path:
    """Make the environment of a tracker, or take the one that is there; return its Python."""
    home = folder / name
    python, stamp = home / "bin" / "python", home / ".installed"
    wanted = f"{sys.version}\n{PACKAGES[name]}\n{(ROOT / 'pyproject.toml').read_text('utf-8')}\n{ROOT}"
    mark = blake2b(wanted.encode(), digest_size=16).hexdigest()
    if stamp.is_file() and stamp.read_text("utf-8") == mark:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    ours = ["--editable", str(ROOT), "pytest"]
    steps = [list(PACKAGES[name]), ours] if name in LATER else [[*ours, *PACKAGES[name]]]
    for step in steps:
        subprocess.run([*install, *step], check=True)
    stamp.write_text(mark, "utf-8")
    return python


def check(name: str, python: Path, arguments: list[str]) -> int:
    """Run a tracker's tests; return pytest's exit code."""
    command = [python, "-m", "pytest", "-o", "filterwarnings=default", "--disable-warnings", *arguments]
    environment = {**os.environ, "DATAVER_TEST_TRACKER": name, "DATAVER_TEST_SERVERS": "0"}
    command += [f"tests/trackers/test_with_{name}.py"]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


def main() -> int:
    """Prepare and check what is asked for; say how it went."""
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given, arguments = sys.argv[1:cut], sys.argv[cut + 1 :]
    folder, names = Path(given[0]).resolve(), given[1:] or list(PACKAGES)
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    with ThreadPoolExecutor(2) as pool:
        coming = {name: pool.submit(prepare, name, folder) for name in names}
        for name, python in coming.items():
            print(f"== {name}", flush=True)
            began = time.monotonic()
            code = check(name, python.result(), arguments)
            said.append((name, code, time.monotonic() - began))
    for name, code, seconds in said:
        print(f"{name:10} {'passed' if code == 0 else f'FAILED ({code})'} {seconds:5.0f} s")
    return int(any(code for _, code, _ in said))


if __name__ == "__main__":
    sys.exit(main())
