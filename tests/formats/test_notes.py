"""Notes and events carry a checksum: no flipped bit makes one say something else."""

from datetime import UTC, datetime

import pytest

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.event import Event, RunFacts, parse_event
from dataver.formats.keeping import (
    Hold,
    Retired,
    Sweep,
    Turn,
    parse_hold,
    parse_retired,
    parse_sweep,
    parse_turn,
)

NOW = datetime(2026, 11, 5, tzinfo=UTC)
OWNER = {"machine": "b 4026531836", "process": 7, "started": "123"}
RUN = RunFacts(key="slurm:7", process="6" * 32, sequence=0, started=NOW)
CASES = {
    "hold": (Hold(tree=bytes(32), owner=OWNER), parse_hold),
    "sweep": (Sweep(keys=(f"packs/00/{'0' * 64}",), owner=OWNER), parse_sweep),
    "retired": (Retired(packs=(bytes(32),)), parse_retired),
    "turn": (Turn(owner=OWNER, record="1" * 32, write_id="2" * 32), parse_turn),
    "event": (Event(id="019aa1b2c3d4" + "0" * 20, written=NOW, tool="dataver 0.1", run=RUN), parse_event),
}


@pytest.mark.parametrize("name", CASES)
def test_no_flipped_bit_changes_what_is_said(name):
    """Each is refused, but for those in the name of the checksum, which leave the rest as it was."""
    value, parse = CASES[name]
    good = value.encode()
    refused = 0
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        try:
            assert parse(bytes(bad)) == value, bit
        except (IntegrityError, FormatTooNew):
            refused += 1
    assert refused >= 8 * len(good) - 8 * len("checksum")


@pytest.mark.parametrize("name", CASES)
def test_what_older_writers_left_is_read(name):
    """Without a checksum, as before there was one."""
    value, parse = CASES[name]
    _, _, rest = value.encode().partition(b",")
    assert value.encode().startswith(b'{"checksum":')
    assert parse(b"{" + rest) == value
