"""`dataver serve` and `dataver ui` without their optional packages."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["uvicorn", "jinja2"])
@pytest.mark.parametrize("command", ["serve", "ui"])
def test_a_missing_package_names_the_extra(tmp_path, command, package) -> None:
    """The command says what to install."""
    code = f"import sys; sys.modules['{package}'] = None; from dataver_cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", code, command, "--repo", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"the Python package {package}, which is not installed" in done.stderr
    assert f"pip install 'dataver[{command}]'" in done.stderr
