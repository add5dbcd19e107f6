"""Small drawings as inline SVG.

The style sheet gives them their colours, by classes: the policy of the pages forbids styles in elements.
"""

from collections.abc import Sequence

from markupsafe import Markup

__all__ = ["bars", "share", "sparkline", "waveform"]


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
