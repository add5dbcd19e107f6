"""`dataver serve` without its optional packages."""

import subprocess
import sys


def test_a_missing_package_names_the_extra(tmp_path) -> None:
    """The command says what to install."""
    code = "import sys; sys.modules['uvicorn'] = None; from dataver_cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "serve", "--repo", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the Python package uvicorn, which is not installed" in done.stderr
    assert "pip install 'dataver[serve]'" in done.stderr
