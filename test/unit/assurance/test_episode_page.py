"""The page of an episode, read as text and opened in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safevla_ros.assurance import charts
from safevla_ros.assurance.episode_page import write_episode_page
from safevla_ros.assurance.run_log import read_run
from safevla_ros.bags import BagError
from safevla_ros.bags.reader import Bag

MakeBag = Callable[..., Any]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PROBE = """
<script>
  const report = text => document.body.setAttribute("data-probe", text);
  window.addEventListener("error", event => report("error: " + event.message));
  const player = document.getElementById("video");
  player.addEventListener("seeked", () => report(JSON.stringify({
    at: player.currentTime, length: player.duration, width: player.videoWidth,
    cursor: Number(document.querySelector(".cursor").getAttribute("x1")),
    now: document.querySelector("button.now").textContent,
    outside: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length,
  })));
  buttons[1].click();
</script>
"""


@pytest.fixture
def folder(make_bag: MakeBag) -> Path:
    """An episode of 6 s that enters a zone in its fourth step, after the gate held it back once."""
    bag = make_bag(robot="sim")
    terms = [
        bag.new("CostTermSpecification", name="zone", unit="m", warning=0.2, budget=0.0, scale=0.1),
        bag.new("CostTermSpecification", name="drop", unit="1", warning=0.0, budget=1.0, scale=0.5),
    ]
    bag.put(9.0, "/cost_specification", bag.new("CostSpecification", name="mine", terms=terms))
    bag.episode(10.0, "RUNNING")
    for tenth in range(60):
        bag.pose(10.0 + tenth / 10, 0.05 * tenth, 0.0)
        bag.image(10.0 + tenth / 10, "navigation", (4 * tenth, 80, 120))
    bag.gated(10.1, 0, "PASS", "accepted")
    bag.gated(12.0, 1, "HALT", "predicted", term="zone", detail="it would <enter> the zone")
    bag.gated(12.5, 2, "PASS", "accepted")
    for step in range(6):
        inside = step >= 3
        zone = {
            "cost": float(inside),
            "cumulative": float(max(0, step - 2)),
            "margin": -0.1 if inside else 0.3,
            "cause": "base in stairs" if inside else "",
        }
        bag.costs(11.0 + step, step, zone=zone, drop={"margin": 0.5})
    bag.episode(16.0, "ENDED", outcome="FAILURE", outcome_reason="entered the stairs")
    return bag.finish()


def test_a_page_holds_everything_in_one_file(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "out" / "page.html"
    summary = write_episode_page(folder, page)
    assert summary["outcome"] == "FAILURE"
    text = page.read_text()
    assert "data:video/mp4;base64," in text
    assert "data:image/png;base64," in text
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert not re.search(r"<!--\w+-->", text), "a part of the template was not filled in"
    assert "it would &lt;enter&gt; the zone" in text
    moments = re.findall(r'data-at="([\d.]+)"><b>[^<]*</b><i[^>]*></i>(\w+): (\w+)', text)
    assert moments == [
        ("2.000", "halt", "zone"),
        ("4.000", "violation", "zone"),
        ("5.000", "violation", "zone"),
        ("6.000", "violation", "zone"),
    ]


def test_curves_stand_where_time_and_value_put_them(folder: Path) -> None:
    log = read_run(Bag(folder))
    axis = charts.time_axis(log)
    assert axis.seconds == pytest.approx(6.0)
    chart = charts.cost_chart(log, "zone", axis)
    [line] = re.findall(r'<polyline points="([^"]+)"', chart)
    x, y = zip(*(map(float, point.split(",")) for point in line.split()), strict=True)
    assert (x[0], x[-1]) == (charts.LEFT, charts.WIDTH - charts.RIGHT)
    assert list(y) == sorted(y, reverse=True), "a sum never falls"
    rises = [at for at, one, next_ in zip(x, y, y[1:], strict=False) if next_ < one]
    # Charged at seconds 4, 5 and 6 of six: the last rise is at the very end.
    assert rises == pytest.approx([axis.x(s * 1e9 + axis.begin_ns) for s in (4, 5, 6)], abs=0.1)
    assert chart.count("base in stairs") == 3
    margins = charts.margin_chart(log, "zone", axis)
    threshold = float(re.findall(r'y1="([\d.]+)" y2="\1" stroke="#8b1a2b"', margins)[0])
    [line] = re.findall(r'<polyline points="([^"]+)"', margins)
    below = [float(point.split(",")[1]) > threshold for point in line.split()]
    assert below == [False] * 6 + [True] * 6


def test_an_unknown_margin_is_a_gap(make_bag: MakeBag) -> None:
    bag = make_bag()
    for step, margin in enumerate((0.5, float("nan"), 0.5)):
        bag.costs(10.0 + step, step, drop={"margin": margin})
    log = read_run(Bag(bag.finish()))
    assert charts.margin_chart(log, "drop", charts.time_axis(log)).count("<polyline") == 2


def test_a_bag_with_nothing_to_see_still_makes_a_page(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag()
    bag.costs(10.0, 0, drop={"margin": 0.5})
    summary = write_episode_page(bag.finish(), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "No video: see the notes." in text
    assert any("no video" in note for note in summary["notes"])
    with pytest.raises(BagError, match="expected a bag"):
        write_episode_page(tmp_path / "nowhere", tmp_path / "page.html")


def test_a_browser_shows_the_page_and_a_click_moves_everything(
    folder: Path, tmp_path: Path
) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    page = tmp_path / "page.html"
    write_episode_page(folder, page)
    page.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [browser, *flags, profile, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=90.0,
        check=False,
    )
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    said = json.loads(found[1].replace("&quot;", '"'))
    # The second entry is the first violation, four seconds after the charts begin.
    assert said["at"] == pytest.approx(4.0, abs=0.05)
    assert said["length"] > 6.0
    assert said["width"] >= 960
    share = (said["cursor"] - charts.LEFT) / (charts.WIDTH - charts.LEFT - charts.RIGHT)
    assert share == pytest.approx(4.0 / 6.0, abs=0.01)
    assert "violation: zone" in said["now"]
    assert said["outside"] == 0, "the page needs something beside it"
