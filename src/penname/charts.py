"""Charts: a report's curves as SVG, in the classes of the page that shows them."""

from collections.abc import Mapping
from typing import Any


def coverage_chart(report: Mapping[str, Any]) -> str:
    """Return the SVG of a report's coverage: the share of exact lines by the share accepted.

    The exact share's axis begins at the tenth below the smallest.
    """
    curve = report["coverage"]
    floor = min(int(10 * min(y for _, _, y in curve)) / 10, 0.9)
    points = [_point(x, (y - floor) / (1 - floor)) for _, x, y in curve]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    (left, y), (right, _) = _point(0, (0.99 - floor) / (1 - floor)), _point(1, 0)
    at_99 = report["coverage_at_99"]
    x = _point(at_99, 0)[0]
    return _chart(
        ("accepted", "exact"),
        floor,
        f'<path class="guide" d="M{left} {y:.1f}H{right}"/>'
        f'<polyline class="curve" points="{line}"/>'
        + (f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>' if at_99 else ""),
    )


def reliability_chart(report: Mapping[str, Any]) -> str:
    """Return the SVG of groups of lines: their share of exact ones by their mean confidence."""
    dots = ""
    for part in report["reliability"]:
        x, y = _point(part["confidence"], part["exact"])
        dots += f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    (left, bottom), (right, top) = _point(0, 0), _point(1, 1)
    diagonal = f'<path class="guide" d="M{left} {bottom}L{right} {top}"/>'
    return _chart(("confidence", "exact"), 0.0, diagonal + dots)


def _point(x: float, y: float) -> tuple[float, float]:
    """Return a chart's (0..1, 0..1), y up, in the coordinates of its SVG."""
    return 46 + 380 * x, 230 - 212 * y


def _chart(names: tuple[str, str], floor: float, marks: str) -> str:
    """Return an SVG with axes: x from 0 to 100 %, y from `floor` to 100 %."""
    axes = ""
    for i in range(6):
        (x, bottom), (right, y) = _point(i / 5, 0), _point(1, i / 5)
        value = floor + (1 - floor) * i / 5
        axes += (
            f'<path class="axis" d="M46 {y:.1f}H{right}"/>'
            f'<text x="40" y="{y + 4:.1f}" text-anchor="end">{100 * value:.0f} %</text>'
            f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{20 * i} %</text>'
        )
    return (
        f'<svg viewBox="0 0 450 272" role="img" aria-label="{names[1]} by {names[0]}">{axes}'
        f'<text x="426" y="268" text-anchor="end">{names[0]}</text>{marks}</svg>'
    )
