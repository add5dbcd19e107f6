"""Versions as folders of datasets on the Hugging Face Hub: the files, and a README.md with a dataset card.

A README.md that begins with YAML is left as it is. Otherwise the card is made from the description of the
version: its license, title, and those of its metadata that the Hub knows.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from dataver.api.version import Version
from dataver.storage.durable import replace_file

__all__ = ["write_card"]

_KNOWN: Final = (
    "language", "pretty_name", "tags", "task_categories", "size_categories", "configs", "dataset_info"
)  # fmt: skip


def write_card(folder: Path, version: Version) -> None:
    """Write the card into the folder of a version's files."""
    path, found = folder / "README.md", version.description
    text = found.readme if found else None
    if text is None:
        text = f"# {version.dataset}\n\n{(found.text if found else '') or version.message}\n"
    data = path.read_bytes() if version.tree.get("README.md") is not None else text.encode()
    if data.startswith((b"---\n", b"---\r\n")):
        replace_file(path, data)
        return
    metadata = version.metadata
    values = {
        **_license((found.license if found else "") or metadata.get("license")),
        "pretty_name": version.dataset,
        **{name: metadata[name] for name in _KNOWN if name in metadata},
    }
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in values.items()]  # JSON is YAML
    replace_file(path, "---\n", *lines, "---\n\n", data)


def _license(stated: Any) -> dict[str, Any]:
    """Return the license by the Hub's names, which are those of SPDX in lower case."""
    if isinstance(stated, str) and re.search(r" |^LicenseRef-", stated):
        return {"license": "other", "license_name": stated}
    return {"license": stated.lower() if isinstance(stated, str) else stated} if stated else {}
