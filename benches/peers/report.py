"""The figures as a Markdown table and as a chart."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from cases import Case, Sample
from peers import BASELINE, PEERS, TELLING

# Above this, something else ran on the proxy's core long enough to matter to its caches.
NOISE = 0.10


@dataclass
class Results:
    """Everything that one run saw."""

    cases: list[Case]
    peers: list[str]
    versions: dict[str, str]
    rounds: int
    seconds: float
    access_log: bool
    # Whose goals they are, and what it is compared with.
    ours: str = "vestibule"
    baseline: str = BASELINE
    # One goal for every case about CPU, in place of each case's own.
    most: float | None = None
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, case: str, peer: str, sample: Sample) -> None:
        self.samples.setdefault((case, peer), []).append(sample)

    def values(self, case: str, peer: str) -> list[float]:
        return [sample.value for sample in self.samples.get((case, peer), [])]

    def median(self, case: str, peer: str) -> float | None:
        values = self.values(case, peer)
        return statistics.median(values) if values else None

    def ratio(self, case: str, peer: str) -> float | None:
        """The median of the rounds' ratios: what slows a whole round slows both of its figures."""
        mine, theirs = self.values(case, peer), self.values(case, self.baseline)
        if not mine or len(mine) != len(theirs):
            return None
        return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))

    def goal(self, case: Case) -> float | None:
        if self.most is None:
            return case.goal
        return None if case.fresh else self.most

    def missed_goals(self) -> list[str]:
        missed = []
        for case in self.cases:
            ratio, goal = self.ratio(case.name, self.ours), self.goal(case)
            if goal is not None and ratio is not None and ratio > goal:
                missed.append(
                    f"{case.name}: {ratio:.2f} of {label(self.baseline)}, the goal is {goal:.2f}"
                )
        return missed

    def noisy(self) -> list[str]:
        """The cases in which a peer had to share its core."""
        shared = {
            case
            for (case, _), samples in self.samples.items()
            if statistics.median(sample.foreign for sample in samples) > NOISE
        }
        return [case.name for case in self.cases if case.name in shared]


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def machine() -> dict[str, str]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "CPU": f"{model}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
    }


def markdown(results: Results) -> str:
    lines = [f"# {title(results)}", "", "![The figures as bars](FIGURE)", ""]
    lines += [
        f"Each proxy on one core with one worker, {conditions(results)}; {results.rounds} rounds of "
        f"{results.seconds:g} s, interleaved. Less is better. A cell is the median, and in brackets "
        f"the ratio to {label(results.baseline)} in the same round (median over the rounds). How it "
        "is made, and what it cannot tell: README.md in `benches/peers`.",
        "",
    ]
    lines += table(results, cell) + ["", "## From the least to the most of all rounds", ""]
    lines += table(results, spread) + [""]
    if results.noisy():
        lines += [
            f"Noise: other work took over {NOISE:.0%} of the proxy's core in "
            f"{', '.join(results.noisy())}. Take these figures again.",
            "",
        ]
    if results.failures:
        lines += ["## Failures", ""]
        lines += [f"- {failure.splitlines()[0]}" for failure in results.failures] + [""]
    lines += ["## Machine", ""]
    lines += [f"- {key}: {value}" for key, value in machine().items()]
    versions = ", ".join(f"{label(name)} {text}" for name, text in results.versions.items())
    return "\n".join([*lines, f"- versions: {versions}", ""])


def title(results: Results) -> str:
    if results.ours == TELLING:
        return "Vestibule with telemetry beside Vestibule without"
    return "Vestibule beside other proxies"


def conditions(results: Results) -> str:
    if results.ours == TELLING:
        return "one that tells all (a log of requests in a file, traces of 1 %, numbers) and one nothing"
    return f"access log {'on, to a file' if results.access_log else 'off'}"


def label(name: str) -> str:
    return PEERS[name].label if name in PEERS else name


def table(results: Results, content: Callable[[Results, Case, str], str]) -> list[str]:
    head = "| case | unit | " + " | ".join(label(peer) for peer in results.peers)
    lines = [f"{head} | goal |", "| --- | --- |" + " ---: |" * len(results.peers) + " --- |"]
    for case in results.cases:
        cells = [content(results, case, peer) for peer in results.peers]
        row = f"| {case.title}<br>{case.what} | {case.unit} | " + " | ".join(cells)
        lines.append(f"{row} | {goal(results, case)} |")
    return lines


def cell(results: Results, case: Case, peer: str) -> str:
    median, ratio = results.median(case.name, peer), results.ratio(case.name, peer)
    if median is None:
        return "-"
    return figure(median) + (f" ({ratio:.2f})" if ratio is not None else "")


def spread(results: Results, case: Case, peer: str) -> str:
    values = results.values(case.name, peer)
    return f"{figure(min(values))}-{figure(max(values))}" if values else "-"


def goal(results: Results, case: Case) -> str:
    most = results.goal(case)
    if most is None:
        return ""
    ratio = results.ratio(case.name, results.ours)
    verdict = "" if ratio is None else (", met" if ratio <= most else ", missed")
    return f"at most {most:.2f}{verdict}"


# --- the chart ---------------------------------------------------------------------------------

COLUMNS, PANEL, GAP, MARGIN = 2, 430, 28, 28
BAR, BAR_GAP, TITLE = 16, 8, 50
NAME_WIDTH, VALUE_WIDTH = 74, 104

# The page's own colours follow the reader's, so that the chart is legible on either ground.
STYLE = """\
  svg { --ground: #ffffff; --text: #1f2328; --quiet: #636c76; --line: #e4e7eb;
        --ours: #0f7b6c; --other: #b8c0ca; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #0d1117; --text: #e6edf3; --quiet: #9198a1; --line: #2a313c;
          --ours: #2fbfa7; --other: #4b5563; } }
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: var(--text); }
  .heading { font-size: 20px; font-weight: 650; } .title { font-weight: 600; font-size: 14px; }
  .quiet { fill: var(--quiet); font-size: 12px; } .name, .value { font-size: 12px; }
  .mine { font-weight: 650; } .ground { fill: var(--ground); } .rule { stroke: var(--line); }
  .ours { fill: var(--ours); } .other { fill: var(--other); }"""


def text(x: float, y: float, kind: str, content: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'
    )


def panel(results: Results, case: Case, x: float, y: float) -> list[str]:
    parts = [text(x, y + 14, "title", case.title)]
    parts.append(text(x, y + 32, "quiet", f"{case.what}; {case.unit}"))
    most = max((results.median(case.name, peer) or 0.0) for peer in results.peers) or 1.0
    room = PANEL - NAME_WIDTH - VALUE_WIDTH
    for row, peer in enumerate(results.peers):
        top = y + TITLE + row * (BAR + BAR_GAP)
        mine = " mine" if peer == results.ours else ""
        parts.append(text(x, top + 12, f"name{mine}", label(peer)))
        median, ratio = results.median(case.name, peer), results.ratio(case.name, peer)
        if median is None:
            parts.append(text(x + NAME_WIDTH, top + 12, "quiet", "no figure"))
            continue
        # Page noise can make memory shrink; a bar cannot be shorter than nothing.
        width = max(2.0, room * max(0.0, median) / most)
        kind = "ours" if mine else "other"
        parts.append(
            f'<rect x="{x + NAME_WIDTH:g}" y="{top:g}" width="{width:.1f}" height="{BAR}" rx="3" class="{kind}"/>'
        )
        shown = figure(median) + (
            f" · {ratio:.2f}×" if ratio is not None and peer != results.baseline else ""
        )
        parts.append(text(x + NAME_WIDTH + width + 7, top + 12, f"value{mine}", shown))
    return parts


def svg(results: Results) -> str:
    height_of_panel = TITLE + len(results.peers) * (BAR + BAR_GAP) + GAP
    rows = -(-len(results.cases) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * PANEL + (COLUMNS - 1) * GAP
    top = MARGIN + 62
    height = top + rows * height_of_panel + 24
    facts = machine()
    versions = " · ".join(
        f"{label(peer)} {results.versions.get(peer, '')}" for peer in results.peers
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="What each proxy costs for the same work">',
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="ground" width="{width}" height="{height}" rx="10"/>',
        text(
            MARGIN,
            MARGIN + 16,
            "heading",
            "The same work on one core: shorter is better",
        ),
        text(
            MARGIN,
            MARGIN + 38,
            "quiet",
            f"{versions}. × is the ratio to {label(results.baseline)} in the same rounds.",
        ),
        f'<path class="rule" d="M{MARGIN} {MARGIN + 50}H{width - MARGIN}"/>',
    ]
    for number, case in enumerate(results.cases):
        row, column = divmod(number, COLUMNS)
        x = MARGIN + column * (PANEL + GAP)
        parts += panel(results, case, x, top + row * height_of_panel + 8)
    foot = f"{facts['date']} · {facts['CPU']} · {facts['kernel']} · {results.rounds} rounds of {results.seconds:g} s"
    parts += [text(MARGIN, height - 16, "quiet", foot), "</svg>", ""]
    return "\n".join(parts)
