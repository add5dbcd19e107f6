"""Real Chromium on the example repository; `make browser` alone runs these tests.

What a page writes to its console, other than what a test permits, fails the test.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ui.conftest import make_example

import dataver
from dataver.serving import Server, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
VERSIONS = int(os.environ.get("UI_VERSIONS", "1000"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, or the one that CHROMIUM names."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The example with a dataset of 1,000 versions, served."""
    folder = tmp_path_factory.mktemp("example")
    make_example(folder, VERSIONS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DATAVER_CACHE", str(folder / "cache"))
        patched.setenv("DATAVER_STATE", str(folder / "state"))
        with serve(dataver.open(folder / "repo"), port=0) as server:
            yield server


@pytest.fixture
def said() -> list[str]:
    """What the pages of a test wrote to the console; a test may take out what it expects."""
    return []


@pytest.fixture
def open_page(browser: "Browser", site: Server, said: list[str]) -> Iterator[Callable[..., "Page"]]:
    """Open a page by its address after `/-/`; further arguments are the context's, such as `color_scheme`."""
    contexts = []

    def opened(address: str, **how: Any) -> "Page":
        context = browser.new_context(
            base_url=site.url, **{"viewport": {"width": 1280, "height": 850}, **how}
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"/-/{address}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
