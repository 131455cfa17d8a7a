"""The supervisor alone, with stand-ins for the nodes: order, refusals, exits, signals, leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from safevla_ros.nodes.graph.bringup import Options, describe
from safevla_ros.nodes.graph.domain import DomainError
from safevla_ros.nodes.graph.supervisor import Interrupted, NodeFailed, Supervisor

STAND_IN = Path(__file__).with_name("stand_in.py")
NAMES = [node.name for node in describe(Options(policy="do-nothing")).nodes]


class Stage:
    """A folder of programs, one stand-in for each node, and what is left of them."""

    def __init__(self, folder: Path, **behaviours: str) -> None:
        self.programs = folder / "programs"
        self.logs = folder / "logs"
        self.diary = folder / "states.txt"
        self.programs.mkdir()
        for name in NAMES:
            behaviour = behaviours.get(name, "good")
            program = self.programs / name
            program.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" {behaviour} "{self.diary}" "$@"\n'
            )
            program.chmod(0o755)

    def supervisor(self, **options) -> Supervisor:
        graph = describe(Options(policy="do-nothing"))
        return Supervisor(graph, self.logs, programs=self.programs, **options)

    def happenings(self) -> list[tuple[str, str]]:
        """(node, state) in the order in which they happened."""
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        return [tuple(line.split()[1:]) for line in lines]

    def processes(self) -> list[psutil.Process]:
        """Every process that was started from this stage and still runs."""
        return [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if str(self.diary) in (process.info["cmdline"] or [])
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]


def spin_until(supervisor: Supervisor, condition, timeout_s: float = 90.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        supervisor.spin(0.05)


@pytest.mark.smoke
def test_safety_is_active_before_anything_else_is_configured_and_leaves_last(tmp_path):
    stage = Stage(tmp_path)
    with stage.supervisor() as supervisor:
        supervisor.bring_up()
        happenings = stage.happenings()
    assert happenings[:4] == [
        ("safety_watchdog", "configured"),
        ("safety_watchdog", "active"),
        ("cost_monitor", "configured"),
        ("cost_monitor", "active"),
    ]
    assert [name for name, state in happenings if state == "active"] == NAMES
    assert [name for name, state in stage.happenings() if state == "left"] == NAMES[::-1]
    assert stage.processes() == []


def test_a_refusal_is_told_in_the_nodes_own_words(tmp_path):
    stage = Stage(tmp_path, cost_monitor="refuse")
    with pytest.raises(NodeFailed) as failure, stage.supervisor() as supervisor:
        supervisor.bring_up()
    assert str(failure.value) == (
        "cost_monitor: config/robots/x.yaml: mode: expected shadow, got 'loud'"
    )
    assert ("sim_robot", "configured") not in stage.happenings()
    assert stage.processes() == []


def test_a_crash_at_the_start_is_told_without_its_traceback(tmp_path):
    stage = Stage(tmp_path, sim_robot="crash")
    with pytest.raises(NodeFailed) as failure, stage.supervisor() as supervisor:
        supervisor.bring_up()
    assert str(failure.value) == (
        "sim_robot exited with code 1: ModuleNotFoundError: No module named 'mujoco'"
    )
    assert stage.processes() == []


def test_a_node_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("safevla_ros.nodes.graph.supervisor.GRACE_S", 2.0)
    stage = Stage(tmp_path, camera_ingest="deaf")
    told = []
    with stage.supervisor(report=lambda name, what: told.append((name, what))) as supervisor:
        supervisor.bring_up()
    assert stage.processes() == []
    assert "camera_ingest" in [name for name, what in told if "killed" in what]


def test_the_exit_of_a_required_node_ends_the_graph(tmp_path):
    stage = Stage(tmp_path)
    with stage.supervisor() as supervisor:
        supervisor.bring_up()
        for process in stage.processes():
            if any("__node:=cost_monitor" in word for word in process.cmdline()):
                process.kill()
        with pytest.raises(NodeFailed, match="cost_monitor was ended by SIGKILL"):
            spin_until(supervisor, lambda: False)
    assert stage.processes() == []


def test_a_node_that_may_respawn_is_brought_back_to_active(tmp_path):
    stage = Stage(tmp_path, training_bridge="die-once")
    with stage.supervisor() as supervisor:
        supervisor.bring_up()
        spin_until(
            supervisor,
            lambda: stage.happenings().count(("training_bridge", "active")) == 2,
        )
    assert stage.processes() == []


def test_without_respawn_the_graph_goes_on_without_it(tmp_path):
    stage = Stage(tmp_path, training_bridge="die-once")
    told = []
    with stage.supervisor(
        may_respawn=False, report=lambda name, what: told.append((name, what))
    ) as supervisor:
        supervisor.bring_up()
        spin_until(supervisor, lambda: any("code 7" in what for _, what in told))
        supervisor.spin(1.5)
    assert stage.happenings().count(("training_bridge", "active")) == 1


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 1.5])
def test_a_signal_at_any_moment_of_the_start_leaves_no_process(tmp_path, delay_s):
    stage = Stage(tmp_path)

    def bring_up_and_run(supervisor: Supervisor) -> None:
        supervisor.bring_up()
        spin_until(supervisor, lambda: False)

    with stage.supervisor() as supervisor:
        subprocess.Popen(["sh", "-c", f"sleep {delay_s}; kill -INT {os.getpid()}"])
        with pytest.raises(Interrupted, match="SIGINT"):
            bring_up_and_run(supervisor)
    assert stage.processes() == []


def test_processes_end_with_a_supervisor_that_is_killed(tmp_path):
    stage = Stage(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_supervisor import Stage\n"
        "stage = object.__new__(Stage)\n"
        "stage.programs, stage.logs = Path(sys.argv[2]), Path(sys.argv[3])\n"
        "with stage.supervisor() as supervisor:\n"
        "    supervisor.bring_up()\n"
        "    print('up', flush=True)\n"
        "    supervisor.spin(60.0)\n"
    )
    arguments = [str(STAND_IN.parent), str(stage.programs), str(stage.logs)]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        assert len(stage.processes()) == len(NAMES)
        process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(stage.processes(), timeout=10.0)
    assert alive == []


def test_a_second_graph_on_the_domain_is_refused(tmp_path):
    stage = Stage(tmp_path)
    second = stage.supervisor()
    with stage.supervisor(), pytest.raises(DomainError, match="another graph runs on ROS domain"):
        second.__enter__()


def test_a_graph_that_somebody_else_started_is_found_before_anything_is_configured(tmp_path):
    stage = Stage(tmp_path)
    other = subprocess.Popen(
        [str(stage.programs / "cost_monitor"), "--ros-args", "-r", "__node:=cost_monitor"]
    )
    try:
        already = pytest.raises(DomainError, match="a node /cost_monitor already runs")
        with stage.supervisor() as supervisor, already:
            supervisor.bring_up()
        assert {state for _, state in stage.happenings()} <= {"left"}
    finally:
        other.terminate()
        other.wait(10.0)
