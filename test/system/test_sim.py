"""`safevla sim` as a whole, judged by what it prints, what it leaves, and what it does not leave."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from safevla_ros.bags.catalogue import bags_below
from safevla_ros.bags.clips import CLIPS
from safevla_ros.bags.reader import Bag
from safevla_ros.nodes.graph.domain import DomainLock
from safevla_ros.nodes.graph.process import programs_folder

MARK = "SAFEVLA_TEST_MARK"
DEFAULT_RUN_S = 900.0  # five minutes on two cores of its own; a busy machine takes longer
SHORT_RUN_S = 240.0
STOP_S = 180.0  # the report of what was recorded included

SHORT = """
name: short
seed: 3
rooms: 1
task: find
policy: random
time_limit_s: {limit}
"""

# A shell that runs the tests in the background has Ctrl-C ignored, here and in what is started.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Sim:
    """One run of `safevla sim`, in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._mark = uuid.uuid4().hex
        self.stdout, self.stderr = folder / "stdout.txt", folder / "stderr.txt"
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [str(programs_folder() / "safevla"), "sim", "--json", *arguments],
                cwd=folder,
                env=dict(os.environ) | {MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """Everything that this run started and that still runs."""
        return [process for process in psutil.process_iter() if _mark_of(process) == self._mark]

    def run_folder(self) -> Path:
        """The one run folder there is."""
        (folder,) = (self.folder / "runs").iterdir()
        return folder

    def said(self) -> str:
        """All output, and what the nodes said."""
        logs = "".join(
            f"--- {log.name}\n{log.read_text(errors='replace')}"
            for log in self.folder.glob("runs/*/logs/*.log")
        )
        return self.stderr.read_text() + self.stdout.read_text() + logs

    def wait_for(self, condition: Callable[[], bool], what: str, deadline_s: float = 180.0) -> None:
        """Wait for something that the run does."""
        end = time.monotonic() + deadline_s
        while not condition():
            assert self.process.poll() is None, f"it ended before {what}:\n{self.said()}"
            assert time.monotonic() < end, f"no {what} within {deadline_s} s:\n{self.said()}"
            time.sleep(0.05)

    def recorded_bytes(self) -> int:
        """Size of the bag so far."""
        return sum(file.stat().st_size for file in self.folder.glob("runs/*/bag/*/*.mcap"))


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:  # gone, or somebody else's
        return None


@pytest.fixture
def sim(tmp_path):
    """Starts runs, and leaves nothing behind."""
    started: list[Sim] = []

    def start(*arguments: str) -> Sim:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Sim(folder, *arguments))
        return started[-1]

    yield start
    for run in started:
        for process in run.processes():
            process.kill()
        run.process.wait()


def short_scenario(folder: Path, limit_s: float) -> str:
    path = folder / "short.yaml"
    path.write_text(SHORT.format(limit=limit_s))
    return str(path)


def messages_by_topic(run: Sim) -> dict[str, int]:
    """How many messages of each topic can be read from the run's only bag."""
    bags = bags_below(run.run_folder() / "bag")
    (path,) = (bag for bag in bags if bag.parent.name != CLIPS)
    counts: dict[str, int] = {}
    for message in Bag(path).messages():
        counts[message.topic] = counts.get(message.topic, 0) + 1
    return counts


@pytest.mark.slow
@pytest.mark.timeout(DEFAULT_RUN_S + 60.0)
def test_the_default_run_is_complete_and_the_gate_keeps_it_off_the_wet_floor(sim):
    """Whatever its outcome: a policy in a hurry is held back at the edge of a zone it knows nothing
    of, and everything that a run leaves is there."""
    run = sim()
    assert run.process.wait(DEFAULT_RUN_S) == 0, run.said()
    assert run.processes() == []
    summary = json.loads(run.stdout.read_text())
    assert summary == json.loads((run.run_folder() / "summary.json").read_text())
    assert summary["outcome"] in ("SUCCESS", "FAILURE", "UNKNOWN")
    assert summary["mode"] == "enforce"
    assert summary["duration_s"] <= 181.0
    assert summary["scored_steps"] == summary["steps"] > 0
    assert set(summary["costs"]) >= {"collision", "drop", "zone_intrusion"}
    assert summary["latency_ms"]["camera_to_command"]["p50"] > 0.0
    assert summary["bag"]["complete"]
    assert summary["policy"]["id"] == "scripted-hurried"
    assert summary["engagement"]["base_path_m"] > 0.5
    assert summary["gate"]["by_reason"].get("predicted", 0) > 0
    assert summary["costs"]["zone_intrusion"]["cumulative"] == 0.0
    for name in ("video.mp4", "top_view.png", "specification.yaml"):
        assert (run.run_folder() / name).stat().st_size > 0
    assert sorted(file.stem for file in (run.run_folder() / "logs").glob("*.log")) == [
        "camera_ingest",
        "cost_monitor",
        "safety_watchdog",
        "sim_robot",
        "training_bridge",
        "vla_inference",
    ]

    # What the bag holds is enough to come to the monitor's verdict again.
    command = [str(programs_folder() / "safevla"), "bags", "score", "--json", "runs"]
    scoring = subprocess.run(command, cwd=run.folder, capture_output=True, text=True, check=False)
    assert scoring.returncode == 0, scoring.stderr
    bags = json.loads(scoring.stdout)["bags"]
    [scored] = [bag for bag in bags if "/clips/" not in bag["bag"]]
    assert scored["compared_steps"] + scored["incomplete"] == summary["scored_steps"]
    assert scored["compared_steps"] > 0.9 * summary["scored_steps"]
    assert scored["largest_difference"] < 1e-9


@pytest.mark.slow
def test_ctrl_c_in_the_middle_leaves_a_readable_bag_and_no_process(sim, tmp_path):
    run = sim("--scenario", short_scenario(tmp_path, 120.0))
    run.wait_for(lambda: run.recorded_bytes() > 1_000_000, "recording")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(STOP_S) == 130, run.said()
    assert run.processes() == []
    assert "Traceback" not in run.stderr.read_text()
    counts = messages_by_topic(run)
    assert counts["/odom"] > 10
    assert counts["/safety_status"] > 1
    assert json.loads((run.run_folder() / "summary.json").read_text())["outcome"] == "ABORTED"


@pytest.mark.parametrize("delay_s", [0.7, 3.0])
def test_ctrl_c_while_it_starts_leaves_no_process(sim, tmp_path, delay_s):
    run = sim("--scenario", short_scenario(tmp_path, 60.0))
    time.sleep(delay_s)  # any moment will do
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(STOP_S) == 130, run.said()
    assert run.processes() == []


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_a_readable_bag_and_no_process(sim, tmp_path):
    run = sim("--scenario", short_scenario(tmp_path, 120.0))
    run.wait_for(lambda: run.recorded_bytes() > 1_000_000, "recording")
    run.process.kill()
    run.process.wait()
    _, alive = psutil.wait_procs(run.processes(), timeout=60.0)
    assert alive == []
    assert messages_by_topic(run)["/odom"] > 10


def test_a_domain_in_use_gets_one_sentence_and_no_folder(sim, tmp_path, domain):
    lock = DomainLock(domain)
    lock.acquire()
    try:
        run = sim("--scenario", short_scenario(tmp_path, 10.0))
        assert run.process.wait(120.0) == 3
    finally:
        lock.release()
    assert run.stderr.read_text().startswith(f"safevla: another graph runs on ROS domain {domain}")
    assert run.stderr.read_text().count("\n") == 1
    assert list((run.folder / "runs").iterdir()) == []


def test_a_policy_file_that_only_a_node_can_tell_to_be_broken_gets_one_sentence(sim, tmp_path):
    from safevla_ros.robot.action_codec import ACTIONS

    folder = tmp_path / "policy"
    folder.mkdir()
    graph = b"\x08\x0a\x12"
    (folder / "policy.onnx").write_bytes(graph)
    description = {
        "id": "cut",
        "sha256": hashlib.sha256(graph).hexdigest(),
        "representation": "token",
        "image_height": 64,
        "image_width": 64,
        "inputs": {
            "images": {"navigation": "image"},
            "proprioception": "proprioception",
            "previous_token": "previous_token",
        },
        "output": "logits",
        "actions": list(ACTIONS),
        "proprioception": [{"name": "joint.lift", "mean": 0.0, "std": 1.0}],
        "selection": "argmax",
    }
    (folder / "policy.yaml").write_text(json.dumps(description))
    run = sim("--scenario", short_scenario(tmp_path, 10.0), "--policy", str(folder))
    assert run.process.wait(SHORT_RUN_S) == 1
    assert run.processes() == []
    last = run.stderr.read_text().splitlines()[-1]
    assert last.startswith("safevla: vla_inference: ")
    assert "policy.onnx" in last
    assert "Traceback" not in run.stderr.read_text()
