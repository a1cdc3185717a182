# SPDX-License-Identifier: Apache-2.0
"""Bar charts as SVG, by hand: the same figures give the same bytes. Colours suit a light and a dark page."""

import math
from html import escape

WIDTH, LABEL, VALUE, ROW, GAP, TOP = 760, 190, 110, 20, 14, 46
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.group { font-weight: 600; }
.axis { stroke: #8c959f; stroke-width: 1; }
.mark { stroke: #8c959f; stroke-dasharray: 3 3; }
.whisker { stroke: #24292f; stroke-width: 1.2; }
.ours { fill: #0969da; } .also { fill: #54aeff; } .other { fill: #afb8c1; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .whisker { stroke: #e6edf3; }
  .ours { fill: #2f81f7; } .also { fill: #79c0ff; } .other { fill: #6e7681; }
}
"""


class Scale:
    """From a figure to a place on the axis. A logarithmic one begins at a power of ten."""

    def __init__(self, most, least, log):
        self.log = log
        self.low = 10 ** math.floor(math.log10(least)) if log else 0
        self.high = max(most, self.low * 10) if log else most
        self.width = WIDTH - LABEL - VALUE

    def x(self, value):
        if self.log:
            share = math.log10(max(value, self.low) / self.low) / math.log10(self.high / self.low)
        else:
            share = value / self.high
        return LABEL + self.width * min(1, max(0, share))


def kind_of(name):
    return "also" if name.startswith("clovisor,") else "ours" if name.startswith("clovisor") else "other"


def _bar(y, name, figures, scale, shown):
    """figures: median, lower and upper quartile."""
    middle, low, high = figures
    end = scale.x(middle)
    parts = [f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
             f'<rect class="{kind_of(name)}" x="{LABEL}" y="{y + 3}" width="{end - LABEL:.1f}" height="{ROW - 6}"/>']
    if high > low:
        left, right = scale.x(low), scale.x(high)
        ends = f"M{left:.1f} {y + 6}v8M{right:.1f} {y + 6}v8"
        parts.append(f'<path class="whisker" d="M{left:.1f} {y + 10}H{right:.1f}{ends}"/>')
        end = max(end, right)
    parts.append(f'<text x="{end + 6:.1f}" y="{y + 14}">{escape(shown)}</text>')
    return parts


def bars(title, groups, show, log=False, mark=None):
    """The chart. groups: (heading, [(name, (median, lower, upper))]); show: a figure as text; mark: where a line is."""
    rows = [figures for _, entries in groups for _, figures in entries]
    if not rows:
        return ""
    most, least = max(max(r) for r in rows), min([r[0] for r in rows if r[0] > 0] or [1])
    scale = Scale(max(most, mark or 0) or 1, least, log)
    parts, y = [], TOP
    for heading, entries in groups:
        if heading:
            parts.append(f'<text class="group" x="8" y="{y + 10}">{escape(heading)}</text>')
            y += ROW
        lines = f'd="M{{:.1f}} {y}v{ROW * len(entries)}"/>'  # takes an x
        for name, figures in entries:
            parts += _bar(y, name, figures, scale, show(figures[0]))
            y += ROW
        parts.append('<path class="axis" ' + lines.format(LABEL))
        if mark is not None:
            parts.append('<path class="mark" ' + lines.format(scale.x(mark)))
        y += GAP
    size = f'width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
            f'<text class="title" x="8" y="22">{escape(title)}</text>\n' + "\n".join(parts) + "\n</svg>\n")
