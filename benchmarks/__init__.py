"""What dataver costs, beside its peers and the physical limit; see README.md in this folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # `servers`: the object-store servers
