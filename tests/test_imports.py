"""The check of imports: what it counts as one, and what it lets pass."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_imports.py"


def _check(root: Path, sources: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, source in sources.items():
        path = root / "dataver" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True)


@pytest.mark.parametrize(
    "back",
    [
        "from dataver.a import name\n",
        "import dataver.a\n",
        "from dataver import a\n",
        "def later():\n    from dataver.a import name  # a reason\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dataver.a import name\n",
    ],
)
def test_a_circle_fails_and_is_named(tmp_path: Path, back: str) -> None:
    """However a module imports what imports it, the circle is reported with all its modules."""
    done = _check(
        tmp_path,
        {
            "__init__.py": "",
            "a.py": "import dataver.room.b\n",
            "room/b.py": "from dataver import c\n",
            "c.py": back,
        },
    )
    assert done.returncode == 1
    for module in ("dataver.a", "dataver.room.b", "dataver.c"):
        assert module in done.stderr


def test_modules_without_a_circle_pass(tmp_path: Path) -> None:
    """Two ways to one module are no circle, nor is a package that exports what is in its modules."""
    done = _check(
        tmp_path,
        {
            "room/__init__.py": "from dataver.room.a import name\n",
            "room/a.py": "from dataver.room import b, c\n",
            "room/b.py": "from dataver.room.c import name\n",
            "room/c.py": "import os\n",
        },
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("source", "passes"),
    [
        ("def later():\n    import json\n", False),
        ("class A:\n    async def later(self):\n        from json import loads\n", False),
        ("import os\n\n# Imports in functions: json is optional.\ndef later():\n    import json\n", True),
        ("def later():\n    import json  # 2 ms\n", True),
        ("if True:\n    import json\n", True),
    ],
)
def test_an_import_in_a_function_needs_a_reason(tmp_path: Path, source: str, passes: bool) -> None:
    """It is a comment on its line, or one of the module."""
    done = _check(tmp_path, {"a.py": source})
    assert (done.returncode == 0) is passes
    assert passes or "a.py:" in done.stderr
