"""Write docs/demo.svg, the picture in README.md: the last part of `dataver demo` on a wide terminal.

Run it in the environment of `make setup`, after a change of what the demo prints.
"""

import os
import re
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Final

PICTURE: Final = Path(__file__).parent.parent / "docs/demo.svg"
START: Final = "# A training job"
COLUMNS: Final = 134
WIDTH, HEIGHT, MARGIN = 8.2, 18, 16  # of a character and of the frame, in pixels
NAMESPACE: Final = "http://www.w3.org/2000/svg"
STYLE: Final = (
    ".frame { fill: #16181d } text { fill: #c9d1d9; font: 13px ui-monospace, Menlo, Consolas, monospace; "
    "white-space: pre } .typed { fill: #ffffff; font-weight: bold } .remark { fill: #7ee787 }"
)


def main() -> None:
    """Run the demo and draw its output."""
    shown = subprocess.run(
        [sys.executable, "-m", "dataver_cli", "demo"],
        env={**os.environ, "COLUMNS": str(COLUMNS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout
    story = shown[shown.index(START) : shown.index("\n# Deleted ")].rstrip()
    text = re.sub(r"\w+ on \w+(?=  read|$)", "ana on laptop", story, flags=re.MULTILINE)
    PICTURE.write_text(drawing(text.splitlines()), "utf-8")


def drawing(lines: list[str]) -> str:
    """Return the lines as an SVG document; long ones continue in the next row."""
    rows = [line[start : start + COLUMNS] for line in lines for start in range(0, max(len(line), 1), COLUMNS)]
    width, height = COLUMNS * WIDTH + 2 * MARGIN, len(rows) * HEIGHT + 2 * MARGIN
    drawn = [
        f'<text class="{kind_of(row)}" x="{MARGIN}" y="{MARGIN + HEIGHT * number + 13}">{escape(row)}</text>'
        for number, row in enumerate(rows)
    ]
    return "\n".join(
        (
            f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {width:.0f} {height}" role="img" xml:space="preserve">',
            "<title>The end of dataver demo: two training runs, and what a bad photo has spoiled</title>",
            f"<style>{STYLE}</style>",
            '<rect class="frame" width="100%" height="100%" rx="8"/>',
            *drawn,
            "</svg>\n",
        )
    )


def kind_of(row: str) -> str:
    """Return the class of a row: typed commands and the demo's remarks stand out."""
    return "typed" if row.startswith("$") else "remark" if row.startswith("#") else "output"


if __name__ == "__main__":
    main()
