"""docs/stopped.md knows every reason that SafetyStatus may give, and its commands name what exists."""

from __future__ import annotations

import re
from pathlib import Path

from safevla_ros.safety import Reason

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "stopped.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))


def test_every_reason_has_a_row_that_says_what_it_means_and_what_to_do():
    inactive = "inactive"  # the monitor's own word, while no gate decides
    assert sorted(ROWS) == sorted([inactive, *(reason.word for reason in Reason)])
    for word, row in ROWS.items():
        meaning, remedy = row.split(" | ")
        assert meaning, word
        assert remedy, word


def test_the_readme_leads_there():
    assert "(docs/stopped.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_topics_and_services_that_it_names_are_those_of_the_graph():
    text = (ROOT / "safevla_ros" / "nodes" / "topics.py").read_text(encoding="utf-8")
    known = {*re.findall(r'= "([\w/]+)"', text), "diagnostics", "cost_monitor", "candidate_command"}
    named = set(re.findall(r"(?<![\w.])/(\w+)", re.sub(r"\S+\.md\)|\w+/\w+/\w+", "", PAGE)))
    assert named <= known
