"""The rates of a report as an SVG: a group of bars for each concurrency, a bar for each subject."""

from collections.abc import Callable
from html import escape

from bench.plan import SubjectName
from bench.results import SUBJECTS, Report
from bench.subjects.registry import TITLES

_COLOURS: dict[SubjectName, str] = {
    "noop": "#9aa5b1",
    "saga": "#d9822b",
    "dbos": "#7b61a8",
    "asyncpg": "#4f9d69",
    "process": "#6ba4d8",
    "http": "#1f5fa8",
    "wait": "#c3ccd5",
}
_WIDTH, _HEIGHT = 720, 356
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 60, 36
_STEPS = (10, 20, 25, 50, 100, 200, 250, 500, 1000)


def plot(report: Report) -> str:
    """The picture; the thin lines are the least and the most of the rounds."""
    lines = [line for line in report.lines if line.group == SUBJECTS]
    groups = sorted({line.concurrency for line in lines})
    subjects = [name for name in TITLES if any(line.subject == name for line in lines)]
    most = max((line.per_s_most for line in lines), default=1.0)
    step = next((s for s in _STEPS if most / s <= 6), _STEPS[-1])
    top = step * (int(most / step) + 1)
    high = _HEIGHT - _TOP - _BOTTOM

    def y(per_s: float) -> float:
        return round(_TOP + high * (1 - per_s / top), 1)

    parts = [_frame(top, step, y), _legend(subjects)]
    slot = (_WIDTH - _LEFT - _RIGHT) / max(1, len(groups))
    bar = slot * 0.84 / max(1, len(subjects))
    for place, many in enumerate(groups):
        at = _LEFT + slot * place + slot * 0.08
        parts.append(_text(at + slot * 0.42, _HEIGHT - 14, f"{many} at once", "middle"))
        for number, name in enumerate(subjects):
            line = report.line(name, many)
            if line is None:
                continue
            x = round(at + bar * number, 1)
            middle = round(x + bar * 0.45, 1)
            parts.append(
                f'<rect x="{x}" y="{y(line.per_s)}" width="{bar * 0.9:.1f}" height="{y(0) - y(line.per_s):.1f}"'
                f' fill="{_COLOURS[name]}"/>'
                f'<path d="M{middle} {y(line.per_s_least)}V{y(line.per_s_most)}" stroke="#333"/>'
            )
            parts.append(_text(middle, y(line.per_s_most) - 4, f"{line.per_s:.0f}", "middle"))
    return "\n".join((*parts, "</svg>", ""))


def _frame(top: float, step: float, y: Callable[[float], float]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
        ' font-size="11" role="img" aria-label="Payments a second">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    )
    lines = [head]
    for number in range(int(top / step) + 1):
        at = y(number * step)
        lines.append(f'<path d="M{_LEFT} {at}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        lines.append(_text(_LEFT - 6, at + 4, f"{number * step:.0f}", "end"))
    return "\n".join(lines)


def _legend(subjects: list[SubjectName]) -> str:
    parts = [_text(8, 16, "payments a second, medians; thin lines from the least to the most of the rounds")]
    x, y = 8.0, 24
    for name in subjects:
        wide = 28 + 5.8 * len(TITLES[name])
        if x + wide > _WIDTH:
            x, y = 8.0, y + 16
        parts.append(f'<rect x="{x}" y="{y}" width="9" height="9" fill="{_COLOURS[name]}"/>')
        parts.append(_text(x + 13, y + 8, TITLES[name]))
        x += wide
    return "\n".join(parts)


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{escape(words)}</text>'
