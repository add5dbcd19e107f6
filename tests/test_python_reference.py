"""The pages of the Python reference (`docs/python.toml`): their names, and the docstrings that they show."""

import builtins
import inspect
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dataver import errors

MANY = 2  # parameters that a first line can explain
ELSEWHERE = re.compile(r"\b([Aa]s for|[Ss]ee) `")
FOREIGN = {"dataver.fs.DataverFileSystem"}  # has the signatures of fsspec
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


def functions(name: str) -> Iterator[Any]:
    """Yield the function, or the public methods of the class, that a name of a page shows."""
    page = next(page for page in PAGES if name in page["names"])
    value = found(name)
    if inspect.isfunction(value):
        yield value
    if inspect.isclass(value) and name not in FOREIGN:
        inherited = page.get("options", {}).get("inherited_members", True)
        members = dir(value) if inherited else vars(value)
        shown = {each for each in members if not each.startswith("_")} - set(page.get("hide", []))
        shown |= {"__init__"} if name in page.get("constructors", []) else set()
        for each in sorted(shown):
            member = inspect.getattr_static(value, each)
            member = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if inspect.isfunction(member) and member.__module__.startswith("dataver."):
                yield member


def section(text: str, title: str) -> list[str]:
    """Return the names that a section of a docstring lists."""
    lines = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
    return re.findall(r"^    (\w+): ", lines[1], re.MULTILINE) if lines else []


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


@pytest.mark.parametrize("name", [name for page in PAGES for name in page["names"]])
def test_docstrings_agree_with_signatures(name: str) -> None:
    """`Args` lists every parameter and no other; of many parameters, all are listed here or elsewhere."""
    for function in functions(name):
        text, where = inspect.getdoc(function) or "", f"{name}: {function.__qualname__}"
        if "__init__" in where:
            text += "\n" + (inspect.getdoc(found(name)) or "")
        parameters = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
        listed = section(text, "Args")
        assert not set(listed) - set(parameters), f"{where} documents what it does not take"
        if listed or len(parameters) > MANY:
            complete = not set(parameters) - set(listed)
            assert complete or ELSEWHERE.search(text), f"{where} leaves out an argument"


@pytest.mark.parametrize("name", [name for page in PAGES for name in page["names"]])
def test_docstrings_list_the_errors_of_their_function(name: str) -> None:
    """`Raises` names public errors, and each public error that the function itself raises."""
    for function in functions(name):
        text, where = inspect.getdoc(function) or "", f"{name}: {function.__qualname__}"
        listed = section(text, "Raises")
        documented = {each.rpartition(".")[2] for page in PAGES for each in page["names"]}
        assert all(each in documented or hasattr(builtins, each) for each in listed), where
        raised = set(re.findall(r"\braise (\w+)\(", inspect.getsource(function))) & set(errors.__all__)
        assert raised <= set(listed) or ELSEWHERE.search(text), f"{where} raises what it does not list"
