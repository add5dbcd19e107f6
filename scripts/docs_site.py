"""Build the site of the documentation into build/site; `make docs-site` runs it in its own environment.

The site's sources are written to build/docs: the files of docs/, README.md as the first page, the changelog,
CONTRIBUTING.md and the benchmark reports, all with rewritten links, a list of the decisions, and the pages of
the Python API. docs/python.toml lists the names of each of the latter; mkdocstrings inserts their docstrings.
Zensical builds the site. A warning, such as of a broken link, fails the build.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent
SOURCES, SITE = ROOT / "build/docs", ROOT / "build/site"
CONFIG = (ROOT / "zensical.toml").read_text("utf-8")
UNLISTED = ("decisions/", "benchmarks/results/")  # pages that other pages list

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
REMOTE = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="?(?:\w+:)?//|<link\b[^>]*\bhref="?(?:\w+:)?//'
)
# Lists that Python-Markdown and CommonMark read differently.
AMBIGUOUS = re.compile(r"^ {1,3}[-*] .*|^(?![ \t#|>]|[-*] |\d+\. ).+\n[-*] .*", re.MULTILINE)


def main() -> int:
    """Build the site; return the exit code."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    problems = [problem for name, text in pages() for problem in write(name, text)]
    problems += docstring_problems()
    shutil.copyfile(ROOT / "docs/site.css", SOURCES / "site.css")
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"], check=False, cwd=ROOT
    )
    problems += [
        f"{page.relative_to(SITE)} loads a remote resource: {found[0]}"
        for page in SITE.rglob("*.html")
        for found in REMOTE.finditer(page.read_text("utf-8"))
    ]
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return built.returncode or bool(problems)


def docstring_problems() -> list[str]:
    """Return the problems of all docstrings, such as a documented parameter that a function does not take."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logging.getLogger("griffe").addHandler(handler)
    waiting: list[Any] = [griffe.load("dataver", search_paths=[ROOT], docstring_parser="google")]
    while waiting:
        one = waiting.pop()
        if not one.is_alias:
            _ = one.docstring and one.docstring.parsed  # parses now
            waiting += one.members.values()
    return [problem for problem in found if "No type or annotation" not in problem]


def pages() -> Iterator[tuple[Path, str]]:
    """Yield the pages by their places in the repository, where those of the API do not exist."""
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
    for file in [*files, *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]:
        yield file, file.read_text("utf-8")
    decisions = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    titles = [
        (path.read_text("utf-8").partition("\n")[0].removeprefix("# "), path.name) for path in decisions
    ]
    yield (
        ROOT / "docs/decisions/index.md",
        "# Decisions\n\nContext, options, choice and price of each choice that had serious alternatives.\n\n"
        + "".join(f"- [{title}]({name})\n" for title, name in titles),
    )
    api = tomllib.loads((ROOT / "docs/python.toml").read_text("utf-8"))["page"]
    yield ROOT / "docs/python/index.md", "\n".join(contents(api))
    for page in api:
        yield ROOT / f"docs/python/{page['file']}.md", "\n".join(api_page(page))


def write(file: Path, text: str) -> list[str]:
    """Write a page with rewritten links; return its problems."""
    place = place_of(file)

    def rewritten(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(file.parent / link[1]))
        target = target / "index.md" if target.is_dir() else target
        return os.path.relpath(place_of(target), place.parent)

    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(LINK.sub(rewritten, text), "utf-8")
    name, page = file.relative_to(ROOT), str(place.relative_to(SOURCES))
    problems = [f"{name}: ambiguous list: {found[0]!r}" for found in AMBIGUOUS.finditer(text)]
    if page not in CONFIG and not page.startswith(UNLISTED):
        problems.append(f"{name}: not in the navigation of zensical.toml")
    return problems


def place_of(file: Path) -> Path:
    """Return the place of a file of the repository among the site's sources."""
    path = file.relative_to(ROOT)
    path = path.relative_to("docs") if path.parts[0] == "docs" else path
    return SOURCES / (path.with_name("index.md") if path.name == "README.md" else path)


def contents(api: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the Python reference's first page."""
    yield "# Python"
    yield "\nThe names of the module `dataver` are public. The other names on these pages belong to results"
    yield "of its methods, or to the named module.\n\n| page | names |\n|---|---|"
    for page in api:
        names = ", ".join(f"[`{name.rpartition('.')[2]}`][{name}]" for name in page["names"])
        yield f"| [{page['title']}]({page['file']}.md) | {names} |"


def api_page(page: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a page of the Python reference; JSON is valid YAML."""
    yield f"# {page['title']}\n\n{page['text']}"
    for name in page["names"]:
        options = {
            "filters": ["!^_", "^__(iter|len|enter)__$", *(f"!^{each}$" for each in page.get("hide", []))],
            "merge_init_into_class": name in page.get("constructors", []),
            "show_root_full_path": name.count(".") == 1,
            "inherited_members": True,
        } | page.get("options", {})
        yield f"\n::: {name}\n    options: {json.dumps(options)}"


if __name__ == "__main__":
    sys.exit(main())
