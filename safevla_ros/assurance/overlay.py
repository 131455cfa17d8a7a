"""The writing around the video's pictures: what was asked, what it costs, what the gate does.

A header and a panel, drawn as RGB images of the video's width. They change a few times a second at
most, so drawings are kept until their content changes.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from safevla_ros.assurance import colours
from safevla_ros.assurance.colours import DECISION, FAINT, INK, OUTCOME, PANEL, TROUGH, VIOLATION
from safevla_ros.assurance.run_log import Decision, RunLog, Step
from safevla_ros.robot.state import NANOSECONDS

Picture = NDArray[np.uint8]
HEADER_PX = 56
BAR_PX = 30
MARGIN_PX = 14
QUIET_PX, QUIET_ROWS = 18, 3


@dataclass(frozen=True, slots=True)
class _Now:
    """All that the writing shows at one time, but for the clock and the playhead: indices into the
    log's lists, -1 for none yet."""

    phase: int
    step: int
    decision: int
    over: bool


class Overlay:
    """Header and panel of a video `width` pixels wide."""

    def __init__(self, log: RunLog, width: int) -> None:
        self._log = log
        self._width = width
        self._split = round(width * 0.56)
        terms = list(log.settings) or sorted({n for step in log.steps for n in step.terms})
        self._bars = [name for name in terms if _is_worth_a_bar(name, log)]
        quiet = ", ".join(name.replace("_", " ") for name in terms if name not in self._bars)
        room = self._split - MARGIN_PX
        self._quiet = _wrapped(f"at no cost: {quiet}", _font(13), room, QUIET_ROWS) if quiet else []
        self._names_px = 16 + max(
            (round(_font(15).getlength(name.replace("_", " "))) for name in self._bars), default=0
        )
        self.panel_px = max(2, len(self._bars)) * BAR_PX + len(self._quiet) * QUIET_PX + 74
        self.panel_px += self.panel_px % 2
        self._step_stamps = [step.stamp_ns for step in log.steps]
        self._decision_stamps = [decision.stamp_ns for decision in log.decisions]
        self._phase_stamps = [stamp for stamp, _ in log.phases]
        policy = f"policy {log.episode.policy_id}" if log.episode else ""
        self._whose = ", ".join(filter(None, (policy, f"mode {log.mode}" if log.mode else "")))
        self._timeline = self._draw_timeline()

    def header(self, stamp_ns: int) -> Picture:
        """Instruction, phase, step, time and, once it is known, the outcome: (HEADER_PX, W, 3)."""
        now = self._now(stamp_ns)
        tenths = round((stamp_ns - self._log.begin_ns) / (NANOSECONDS // 10))
        return self._draw_header(now, tenths)

    def panel(self, stamp_ns: int) -> Picture:
        """Costs against budgets, the gate's decision, the run's timeline: (panel_px, W, 3)."""
        drawn = self._draw_panel(self._now(stamp_ns)).copy()
        x = self._at(stamp_ns)
        drawn[self.panel_px - 30 : self.panel_px - 6, x - 1 : x + 2] = colours.rgb(INK)
        return drawn

    def decision_colour(self, stamp_ns: int) -> str:
        """Colour of what the gate last decided."""
        index = _last(self._decision_stamps, stamp_ns)
        return TROUGH if index < 0 else DECISION.get(self._log.decisions[index].decision, FAINT)

    def _now(self, stamp_ns: int) -> _Now:
        episode = self._log.episode
        ended = episode is not None and episode.ended_ns is not None
        return _Now(
            phase=_last(self._phase_stamps, stamp_ns),
            step=_last(self._step_stamps, stamp_ns),
            decision=_last(self._decision_stamps, stamp_ns),
            over=ended and stamp_ns >= self._log.end_ns,
        )

    @functools.lru_cache(maxsize=4)  # noqa: B019  # an overlay lives as long as its video
    def _draw_header(self, now: _Now, tenths: int) -> Picture:
        image = Image.new("RGB", (self._width, HEADER_PX), PANEL)
        draw = ImageDraw.Draw(image)
        episode = self._log.episode
        middle = HEADER_PX // 2
        right = self._width - MARGIN_PX
        if now.over and episode is not None:
            right = _pill(draw, right, middle, episode.outcome, OUTCOME.get(episode.outcome, FAINT))
        text = f"{max(0, tenths) / 10:.1f} s"
        right = _text_left_of(draw, right - 10, middle, text, INK, 17)
        text = f"step {self._log.steps[now.step].index + 1 if now.step >= 0 else 0}"
        right = _text_left_of(draw, right - 18, middle, text, INK, 17)
        phase = self._log.phases[now.phase][1] if now.phase >= 0 else ""
        if phase:
            right = _text_left_of(draw, right - 18, middle, phase, FAINT, 17)
        title = f"“{episode.instruction}”" if episode else "no episode"
        font = _font(21, bold=True)
        title = _shortened(title, font, right - 24 - MARGIN_PX)
        draw.text((MARGIN_PX, middle), title, INK, font, "lm")
        return np.asarray(image)

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def _draw_panel(self, now: _Now) -> Picture:
        image = Image.new("RGB", (self._width, self.panel_px), PANEL)
        draw = ImageDraw.Draw(image)
        step = self._log.steps[now.step] if now.step >= 0 else None
        for row, name in enumerate(self._bars):
            self._draw_bar(draw, name, step, 8 + row * BAR_PX, self._split)
        top = 8 + len(self._bars) * BAR_PX + QUIET_PX // 2
        for row, line in enumerate(self._quiet):
            draw.text((MARGIN_PX, top + row * QUIET_PX), line, FAINT, _font(13), "lm")
        decision = self._log.decisions[now.decision] if now.decision >= 0 else None
        self._draw_decision(draw, decision, self._split + 24)
        image.paste(self._timeline, (0, self.panel_px - self._timeline.height))
        return np.asarray(image)

    def _draw_bar(
        self, draw: ImageDraw.ImageDraw, name: str, step: Step | None, top: int, right: int
    ) -> None:
        """One cost term: how much of its budget is used."""
        middle = top + BAR_PX // 2
        term = step.terms.get(name) if step else None
        settings = self._log.settings.get(name)
        budget = settings.budget if settings else None
        draw.text((MARGIN_PX, middle), name.replace("_", " "), INK, _font(15), "lm")
        left, end = MARGIN_PX + self._names_px, right - 74
        draw.rounded_rectangle((left, top + 8, end, top + BAR_PX - 8), 4, TROUGH)
        if term is not None and not term.applicable:
            draw.text((left + 8, middle), f"not applicable: {term.cause}", FAINT, _font(12), "lm")
            draw.text((end + 10, middle), "n/a", FAINT, _font(15), "lm")
            return
        cost = term.cumulative if term else 0.0
        # Without a budget, or with one of nothing, the first unit of cost fills the bar.
        share = min(1.0, cost / max(budget or 0.0, 1.0))
        over = budget is not None and cost > budget
        if share > 0.0:
            fill = VIOLATION if over else DECISION["LIMIT"]
            draw.rounded_rectangle(
                (left, top + 8, left + max(8, round(share * (end - left))), top + BAR_PX - 8),
                4,
                fill,
            )
        text = f"{cost:g}" if budget is None else f"{cost:g} / {budget:g}"
        draw.text((end + 10, middle), text, VIOLATION if over else INK, _font(15, bold=over), "lm")

    def _draw_decision(
        self, draw: ImageDraw.ImageDraw, decision: Decision | None, left: int
    ) -> None:
        """What the gate last decided, in its colour, and why."""
        room = self._width - MARGIN_PX - left
        if decision is None:
            draw.text((left, 24), "no command yet", FAINT, _font(15), "lm")
            return
        colour = DECISION.get(decision.decision, FAINT)
        font = _font(17, bold=True)
        width = round(font.getlength(decision.decision)) + 28
        draw.rounded_rectangle((left, 10, left + width, 40), 15, colour)
        draw.text((left + width // 2, 25), decision.decision, "white", font, "mm")
        why = decision.reason.replace("_", " ")
        if decision.term:
            why += f": {decision.term.replace('_', ' ')}"
        why = _shortened(why, _font(15), room - width - 12)
        draw.text((left + width + 12, 25), why, INK, _font(15), "lm")
        lines = [self._whose]
        if decision.decision != "PASS":
            lines = _wrapped(decision.detail, _font(13), room, rows=2)
        for row, line in enumerate(lines):
            draw.text((left, 58 + 18 * row), line, FAINT, _font(13), "lm")

    def _draw_timeline(self) -> Image.Image:
        """The gate's decisions over the whole run, the steps that cost something above them."""
        image = Image.new("RGB", (self._width, 44), PANEL)
        draw = ImageDraw.Draw(image)
        draw.rectangle((MARGIN_PX, 20, self._width - MARGIN_PX, 32), TROUGH)
        log = self._log
        for index, decision in enumerate(log.decisions):
            last = index + 1 == len(log.decisions)
            until = log.end_ns if last else log.decisions[index + 1].stamp_ns
            begin, end = self._at(decision.stamp_ns), self._at(until)
            colour = DECISION.get(decision.decision, FAINT)
            draw.rectangle((begin, 20, max(begin, end - 1), 32), colour)
        for charge in log.charges:
            x = self._at(charge.stamp_ns)
            draw.polygon([(x - 6, 6), (x + 6, 6), (x, 17)], VIOLATION)
        return image

    def _at(self, stamp_ns: int) -> int:
        """Column of a time on the timeline."""
        span = max(1, self._log.end_ns - self._log.begin_ns)
        share = min(1.0, max(0.0, (stamp_ns - self._log.begin_ns) / span))
        return MARGIN_PX + round(share * (self._width - 2 * MARGIN_PX))


def label(text: str) -> Picture:
    """A camera's name, to be put into the corner of its picture."""
    width = round(_font(14).getlength(text)) + 16
    image = Image.new("RGB", (width, 24), PANEL)
    ImageDraw.Draw(image).text((8, 12), text, INK, _font(14), "lm")
    return np.asarray(image)


def _is_worth_a_bar(name: str, log: RunLog) -> bool:
    """A term that has a budget, or that cost something or could not be judged in this run."""
    settings = log.settings.get(name)
    if settings is not None and settings.budget is not None:
        return True
    found = (step.terms[name] for step in log.steps if name in step.terms)
    return any(term.cumulative > 0.0 or not term.applicable for term in found)


def _last(stamps: Sequence[int], stamp_ns: int) -> int:
    """Index of the last stamp at or before a time, or -1."""
    return bisect.bisect_right(stamps, stamp_ns) - 1


@functools.cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib: the same picture on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def _pill(draw: ImageDraw.ImageDraw, right: int, middle: int, text: str, colour: str) -> int:
    """A coloured label that ends at `right`; its left edge."""
    font = _font(17, bold=True)
    left = right - round(font.getlength(text)) - 28
    draw.rounded_rectangle((left, middle - 15, right, middle + 15), 15, colour)
    draw.text(((left + right) // 2, middle), text, "white", font, "mm")
    return left


def _text_left_of(
    draw: ImageDraw.ImageDraw, right: int, middle: int, text: str, colour: str, size: int
) -> int:
    """Text that ends at `right`; its left edge."""
    draw.text((right, middle), text, colour, _font(size), "rm")
    return right - round(_font(size).getlength(text))


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def _wrapped(text: str, font: ImageFont.FreeTypeFont, room: int, rows: int) -> list[str]:
    """Text in at most `rows` lines; the last one is shortened."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < rows:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= room:
            line += " " + words.pop(0)
        lines.append(line)
    if words:
        lines[-1] += " " + " ".join(words)
    return [_shortened(line, font, room) for line in lines]
