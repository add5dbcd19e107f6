"""What a command line did, for the tests of this folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Done", "Run"]


@dataclass
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Done]
