"""A line of a given speed between a server of this machine and its clients; needs root and `tc`."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

__all__ = ["network_line"]


@contextmanager
def network_line(mbit: int | None, url: str) -> Iterator[None]:
    """Make the way to a server of this machine as slow as a real line, each direction by itself.

    What the parts of a server say to each other by other ports goes as fast as ever.
    """
    if mbit is None:
        yield
        return
    port = str(urlsplit(url).port)
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb"], check=True)
    try:
        for way, end in (("1:1", "dport"), ("1:2", "sport")):
            rate = ["htb", "rate", f"{mbit}mbit", "burst", "1mb", "cburst", "1mb", "quantum", "65536"]
            match = ["u32", "match", "ip", end, port, "0xffff", "flowid", way]
            for words in (
                ["class", "add", "dev", "lo", "parent", "1:", "classid", way, *rate],
                ["qdisc", "add", "dev", "lo", "parent", way, "bfifo", "limit", "4mb"],
                ["filter", "add", "dev", "lo", "parent", "1:", "protocol", "ip", *match],
            ):
                subprocess.run(["tc", *words], check=True)
        yield
    finally:
        subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True)
