"""The pages of the Python reference (`docs/python.toml`) name what exists, and all that is public."""

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import dataver

PAGES = tomllib.loads((Path(__file__).parents[1] / "docs/python.toml").read_text("utf-8"))["page"]


def found(name: str) -> Any:
    """Import a name of a page; skip the test if it needs a package that is not installed."""
    home, _, last = name.rpartition(".")
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        if (error.name or "dataver").partition(".")[0] == "dataver":
            raise
        pytest.skip(f"needs {error.name}")
    return getattr(module, last, None) or import_module(name)


def test_each_public_name_is_on_one_page() -> None:
    """A new public name gets a place in the reference."""
    named = [name for page in PAGES for name in page["names"]]
    assert len(named) == len(set(named))
    public = {f"dataver.{name}" for name in dataver.__all__ if name != "__version__"}
    assert public <= set(named)


@pytest.mark.parametrize("name", [name for page in PAGES for name in page["names"]])
def test_a_page_names_what_exists(name: str) -> None:
    """Each name can be imported and has a docstring of its own."""
    assert found(name).__doc__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["file"])
def test_hidden_members_exist(page: dict[str, Any]) -> None:
    """An entry of `hide` that hides nothing is stale."""
    hidden = set(page.get("hide", []))
    if hidden:
        members = {member for name in page["names"] for member in dir(found(name))}
        assert hidden <= members
