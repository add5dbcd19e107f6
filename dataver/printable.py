"""Text for people: names without control characters, sizes and durations in suitable units.

Names come from repositories and disks that others may have written. An escaped control character cannot move
a cursor, reverse the direction of writing, or hide text.
"""

__all__ = ["count", "duration", "safe", "size"]


def safe(text: str) -> str:
    """Return text with all control and other unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size(number: int) -> str:
    """Return a size in a suitable unit; 1 MB is 10^6 bytes."""
    if abs(number) < 1000:
        return f"{number} B"
    value = float(number)
    units = ["kB", "MB", "GB", "TB", "PB"]
    value /= 1000
    while abs(value) >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}"


def count(number: int, thing: str, things: str | None = None) -> str:
    """Return a number and its noun: `1 file`, `8,000 files`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def duration(seconds: float) -> str:
    """Return a duration in a suitable unit."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
