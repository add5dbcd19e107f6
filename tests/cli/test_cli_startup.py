"""A command starts without what it does not need: held by names of modules, not by a clock."""

import subprocess
import sys
from pathlib import Path

import pytest

import dataver

NEVER = {
    "aiohttp",
    "asyncio",
    "botocore",
    "concurrent.futures.process",
    "email",
    "fsspec",
    "http",
    "importlib.metadata",
    "logging.config",
    "multiprocessing",
    "numpy",
    "platformdirs",
    "pyarrow",
    "pydoc",
    "s3fs",
    "secrets",
    "ssl",
    "tomllib",
    "tqdm",
    "unittest",
    "xml",
}
MAKING = {"dataver.ingest", "filelock", "pyfastcdc", "sqlite3"}
FETCHING = {"dataver.checkout"}
LOOKING = {"concurrent.futures", "hashlib", *MAKING, *FETCHING}
HELP = {"dataver.repository", "dataver.storage", "dataver.formats", "dataver.tree", "blake3", "zstandard"}


@pytest.fixture
def repository(tmp_path: Path) -> dataver.Repository:
    """A local repository whose dataset `a/b` has two versions, and the folder `src` they were made of."""
    made = dataver.init(tmp_path / "repo")
    source = tmp_path / "src"
    source.mkdir()
    for number in range(2):
        (source / f"{number}.txt").write_text(str(number))
        made.sync(source, "a/b", workspace=tmp_path)
    return made


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["--help"], NEVER | LOOKING | HELP),
        (["--version"], NEVER | LOOKING | HELP),
        (["sync", "--help"], NEVER | LOOKING | HELP),
        (["list"], NEVER | LOOKING),
        (["list", "a/b"], NEVER | LOOKING),
        (["ls", "a/b"], NEVER | LOOKING),
        (["show", "a/b"], NEVER | LOOKING),
        (["log", "a/b"], NEVER | LOOKING),
        (["diff", "a/b@1.0.0", "a/b@1.0.1"], NEVER | LOOKING),
        (["tag", "a/b", "good"], NEVER | LOOKING),
        (["verify", "a/b"], NEVER | MAKING),
        (["fetch", "a/b"], NEVER | MAKING),
        (["create", "a/b"], NEVER - {"secrets"} | FETCHING | {"pyfastcdc"}),
        (["sync", "src", "--name", "a/b"], NEVER - {"secrets"} | FETCHING | {"pyfastcdc"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_only_what_it_needs(
    repository: dataver.Repository, words: list[str], without: set[str]
) -> None:
    """The modules that a command has no use for are absent after it has done its work."""
    code = (
        "import sys; before = set(sys.modules); from dataver_cli.main import main\n"
        f"code = main({words!r})\n"
        f"print(sorted({without!r} & (set(sys.modules) - before)), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    folder = Path(repository.url).parent
    command = [sys.executable, "-c", code]
    settings = {"DATAVER_REPO": repository.url, "DATAVER_CACHE": str(folder / "cache"), "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=settings)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
