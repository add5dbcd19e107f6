"""What a user gets when the package is installed."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import dataver
import dataver_cli

ROOT = Path(__file__).parents[1]
WHEELS = os.environ.get("DATAVER_TEST_DIST")  # set by scripts/wheel_test.sh


@pytest.mark.parametrize("name", [name for name in dataver.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_documented(name: str) -> None:
    """What `__all__` lists can be imported, has a docstring, and so have its public methods."""
    value = getattr(dataver, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        for member, found in inspect.getmembers(value):
            if not member.startswith("_") and (inspect.isfunction(found) or isinstance(found, property)):
                assert inspect.getdoc(found), f"{name}.{member} has no docstring"


def test_the_public_names_are_these() -> None:
    """Nothing becomes public, or stops being it, by accident."""
    assert set(dataver.__all__) == set(dir(dataver))
    assert len(set(dataver.__all__)) == len(dataver.__all__)
    assert {"open", "init", "fetch", "Repository", "Draft", "Version", "DataverError"} <= set(dataver.__all__)


def test_each_public_name_is_on_one_page_of_the_reference() -> None:
    """A new public name gets a place in `docs/python.toml`."""
    pages = tomllib.loads((ROOT / "docs/python.toml").read_text("utf-8"))["page"]
    named = [name for page in pages for name in page["names"]]
    assert len(named) == len(set(named))
    assert {f"dataver.{name}" for name in dataver.__all__ if name != "__version__"} <= set(named)


def test_every_error_of_the_library_is_public() -> None:
    """A caller can catch by name whatever is raised on purpose."""
    from dataver import errors

    assert set(errors.__all__) <= set(dataver.__all__)


def test_an_error_shows_the_next_step() -> None:
    """In a traceback, and so in a notebook; `message` is the sentence alone."""
    error = dataver.NotFound("there is no dataset 'cats'.", hint="`dataver list` lists all")
    assert str(error) == "there is no dataset 'cats'.\n  hint: `dataver list` lists all"
    assert error.message == str(dataver.NotFound(error.message)) == "there is no dataset 'cats'."


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Lazy names behave as ordinary ones do."""
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = dataver.nothing_like_this


def test_version_is_in_the_changelog() -> None:
    """The changelog has a section for this version."""
    assert f"\n## {dataver.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_links_in_the_documentation_lead_somewhere() -> None:
    """Every relative link of README and docs/ names a file that exists."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if "://" not in target and (ROOT / "CONTRIBUTING.md").is_file():
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_of_the_documentation_is_in_the_navigation() -> None:
    """`zensical.toml` names it; the decisions are listed by a page of their own."""
    navigation = ROOT / "zensical.toml"
    if navigation.is_file():  # not beside an installed wheel
        pages = {path.name for path in (ROOT / "docs").glob("*.md")}
        assert pages <= set(re.findall(r'"([^"/]+\.md)"', navigation.read_text("utf-8")))


def test_the_command_is_installed() -> None:
    """`dataver --version` runs from the environment's own folder of programs."""
    program = Path(sys.executable).parent / "dataver"
    if not program.exists() and not WHEELS:
        pytest.skip("dataver is used from its source tree, not installed")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, cwd="/")
    assert done.stdout == f"dataver {dataver.__version__}\n", done.stderr


@pytest.mark.skipif(not WHEELS, reason="no wheel given; `make wheel-test` runs this")
def test_the_wheel_holds_the_packages_and_nothing_else() -> None:
    """No `cli`, `tests` or `benchmarks` at the top; types are marked; the licence and the command are in."""
    wheel = next(Path(WHEELS or "").glob("dataver-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"dataver-{dataver.__version__}.dist-info"
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert {name.partition("/")[0] for name in names} == {"dataver", "dataver_cli", info}
    assert {"dataver/py.typed", "dataver_cli/py.typed", f"{info}/licenses/LICENSE"} <= set(names)
    assert "dataver = dataver_cli.main:main" in entry_points
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_map_of_changes_names_files_that_exist() -> None:
    """Each path of the table in docs/architecture.md leads to a file or a folder."""
    table = (
        (ROOT / "docs/architecture.md")
        .read_text("utf-8")
        .split("## Where to change what")[1]
        .split("\n## ")[0]
    )
    paths = re.findall(r"`([\w/]+(?:\.\w+|/))`", table)
    paths = [path for path in paths if "/" in path]
    package, commands = Path(dataver.__file__).parent, Path(dataver_cli.__file__).parent
    missing = [
        path
        for path in paths
        if not any(
            place.exists()
            for place in (package / path, commands / path.removeprefix("cli/dataver_cli/"), ROOT / path)
        )
    ]
    assert len(paths) > 20
    assert missing == []
