"""Small drawings as inline SVG.

The style sheet gives them their colours, by classes: the policy of the pages forbids styles in elements.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from markupsafe import Markup

__all__ = ["bars", "share", "sparkline", "squares", "stacked", "waveform"]

Box = tuple[float, float, float, float]
"""Left, top, width and height."""


def sparkline(values: Sequence[float], title: str, width: int = 120, height: int = 28) -> Markup:
    """Return a line through values, the last one marked; nothing for less than two values."""
    if len(values) < 2:
        return Markup()
    top = max(values) or 1
    step = (width - 6) / (len(values) - 1)
    points = [
        f"{3 + number * step:.1f},{height - 3 - value / top * (height - 6):.1f}"
        for number, value in enumerate(values)
    ]
    x, y = points[-1].split(",")
    return Markup(
        '<svg class="spark" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img"><title>{title}</title>'
        '<polygon points="3,{base} {points} {x},{base}"/><polyline points="{points}"/>'
        '<circle cx="{x}" cy="{y}" r="2.5"/></svg>'
    ).format(w=width, h=height, title=title, base=height - 3, points=" ".join(points), x=x, y=y)


def bars(counts: Sequence[float], title: str, width: int = 120, height: int = 36) -> Markup:
    """Return a histogram: one bar for each count."""
    if not counts:
        return Markup()
    top = max(counts) or 1
    step = width / len(counts)
    drawn = Markup().join(
        Markup('<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
            number * step, height - value / top * height, max(step - 1, 0.5), value / top * height
        )
        for number, value in enumerate(counts)
    )
    return Markup(
        '<svg class="bars" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">'
        "<title>{title}</title>{drawn}</svg>"
    ).format(w=width, h=height, title=title, drawn=drawn)


def share(part: float, whole: float, title: str, width: int = 60) -> Markup:
    """Return a bar that is filled as far as the part is of the whole."""
    filled = min(1.0, part / whole) * width if whole else 0.0
    return Markup(
        '<svg class="share" width="{w}" height="8" viewBox="0 0 {w} 8" role="img" aria-label="{title}">'
        '<rect class="whole" width="{w}" height="8" rx="2"/><rect width="{filled:.1f}" height="8" rx="2"/>'
        "</svg>"
    ).format(w=width, title=title or f"{part:,} of {whole:,}", filled=filled)


def waveform(peaks: Sequence[float], title: str) -> Markup:
    """Return peaks between 0 and 1 as a shape around the middle, as wide as its place."""
    upper = [f"{at},{50 - 48 * peak:.1f}" for at, peak in enumerate(peaks)]
    lower = [f"{at},{50 + 48 * peak:.1f}" for at, peak in enumerate(peaks)]
    return Markup(
        '<svg class="wave" viewBox="0 0 {width} 100" preserveAspectRatio="none" role="img">'
        '<title>{title}</title><polygon points="{points}"/></svg>'
    ).format(width=max(1, len(peaks) - 1), title=title, points=" ".join([*upper, *reversed(lower)]))


def stacked(parts: Sequence[tuple[str, float]], whole: float, title: str, width: int = 160) -> Markup:
    """Return a bar of parts, each a class and a value, beside each other; the bar is as long as `whole`."""
    ends = accumulate((value / (whole or 1) * 100 for _, value in parts), initial=0.0)
    rect = Markup('<rect class="{}" x="{:.2f}%" width="{:.2f}%" height="100%"/>')
    drawn = Markup().join(
        rect.format(kind, end, value / (whole or 1) * 100)
        for (kind, value), end in zip(parts, ends, strict=False)
    )
    return Markup(
        '<svg class="stacked" width="{}" height="10" role="img" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(width, title, title, drawn)


def squares(items: Iterable[dict[str, Any]], box: Sequence[float]) -> Iterator[tuple[dict[str, Any], Box]]:
    """Yield items with their boxes in a treemap: left, top, width and height. Their areas are as `size`.

    M. Bruls, K. Huizing, J. van Wijk: Squarified Treemaps (2000).
    """
    left, top, width, height = box
    rest = sorted((each for each in items if each["size"]), key=lambda each: -each["size"])
    while rest and min(width, height) > 0:
        scale, side, best, count = width * height / sum(each["size"] for each in rest), 0.0, inf, 0
        for total in accumulate(each["size"] * scale for each in rest):
            thickness = total / min(width, height)
            largest, smallest = rest[0]["size"] * scale, rest[count]["size"] * scale
            worst = max(largest / thickness**2, thickness**2 / smallest)
            if worst > best:
                break
            side, best, count = thickness, worst, count + 1
        at = 0.0
        for each in rest[:count]:
            length = each["size"] * scale / side
            yield each, (left, top + at, side, length) if width >= height else (left + at, top, length, side)
            at += length
        if width >= height:  # a column at the left, else a row at the top
            left, width = left + side, width - side
        else:
            top, height = top + side, height - side
        rest = rest[count:]
