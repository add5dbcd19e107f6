"""What holds for every page: no serious finding of axe, light and dark, and nothing wider than the window."""

import pytest
from playwright.sync_api import Page

PAGES = (
    "datasets",
    "datasets?q=prices&search=1",
    "datasets?q=zzz",
    "dataset?name=shop/prices",
    "dataset?name=log/events&page=20",
    "version?ref=shop/prices@1.0.2",
    "version?ref=vision/cats@1.0.1&path=train",
    "version?ref=odd/names@1.0.0&path=strange",
    "version?ref=odd/names@1.0.0&path=many&from=300",
    "diff?new=vision/cats",
    "diff?new=odd/names&kind=added",
    "diff?new=vision/cats&path=train/0001.jpg",
    *(f"diff?new=lab/mixed&path={name}" for name in ("table.parquet", "settings.json", "notes.txt")),
    "diff?new=lab/mixed&path=model.safetensors",
    "lineage",
    "lineage?ref=shop/prices@1.0.1&impact=1",
    "lineage?run=lab:1&hops=3",
    "lineage?all=1",
    "runs",
    "runs?outcome=failed",
    "run?key=lab:1",
    "run?key=mlflow:4f1c",
    "compare?first=lab:0&second=lab:5",
    "diff?new=vision/cats@1.0.0&path=train/0001.jpg",
    "runs?version=vision/cats@1.0.1",
    "version?ref=shop/prices@1.0.2&path=prices.parquet",
    "version?ref=shop/prices@1.0.2&path=README.md",
    "version?ref=vision/cats@1.0.1&path=train/0001.jpg",
    "version?ref=vision/cats@1.0.1&path=audio/tone0.wav",
    "version?ref=odd/names@1.0.0&path=book.ipynb",
    "version?ref=odd/names@1.0.0&path=deep.json",
    "version?ref=odd/names@1.0.0&path=model.safetensors",
    "version?ref=odd/names@1.0.0&path=bytes.bin",
    "file?path=train/0007.jpg",
    "file?path=settings.json",
    "storage",
    "storage?name=vision/cats",
    "storage?ref=odd/names&path=strange",
    "storage?ref=lab/mixed&path=large.bin",
    "nothing",
)
"""One address for each state that looks different."""


def _violations(page: Page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", PAGES)
def test_axe_finds_nothing_serious(open_page, said, address, scheme):
    """Names, contrasts, roles and the like."""
    page = open_page(address, color_scheme=scheme)
    said[:] = [each for each in said if "404 (Not Found)" not in each]
    assert _violations(page) == []


@pytest.mark.parametrize("width", [360, 2560])
@pytest.mark.parametrize("address", PAGES)
def test_a_page_fits_its_window(open_page, said, address, width):
    """From a phone to a large screen; tables scroll in themselves."""
    page = open_page(address, viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    said[:] = [each for each in said if "404 (Not Found)" not in each]
