"""Write docs/images/*.png: the pages of the example repository in Chromium (`make pictures`).

The example is that of the tests (`tests/ui/example.py`). Pictures of few colours are small.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import dataver
from dataver.serving import serve

ROOT = Path(__file__).parents[1]
PICTURES = {
    "version": ("version?ref=vision/cats@1.0.1&path=train", "light", 1200, 760),
    "difference": ("diff?old=shop/prices@1.0.0&new=shop/prices@1.0.1&path=prices.parquet", "dark", 1200, 760),
    "lineage": ("lineage?ref=vision/cats@1.0.0&impact=1", "light", 1700, 620),
    "storage": ("storage?name=vision/cats", "dark", 1200, 760),
}
"""The name of each picture: the page, its colours, width and height."""


def main() -> None:
    """Make the example in a folder of its own, serve it, and take the pictures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        known = {**os.environ, "LOGNAME": "ada", "USER": "ada"}
        subprocess.run([sys.executable, "-m", "ui.example", place], cwd=ROOT / "tests", env=known, check=True)
        os.environ.update(DATAVER_CACHE=str(folder / "cache"), DATAVER_STATE=str(folder / "state"))
        with serve(dataver.open(folder / "repo"), port=0) as server:
            _take(server.url)


def _take(url: str) -> None:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, (address, scheme, width, height) in PICTURES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page.goto(f"{url}/-/{address}")
            page.wait_for_load_state("networkidle")
            target = ROOT / "docs/images" / f"{name}.png"
            page.screenshot(path=target)
            Image.open(target).convert("RGB").quantize(dither=Image.Dither.NONE).save(target, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
