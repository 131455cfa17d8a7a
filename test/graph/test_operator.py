"""The person's side of a run, on the whole graph: goal, what is gathered, a stop from before it."""

from __future__ import annotations

import dataclasses
import os
import signal
import time

import psutil
import pytest

from safevla_ros.nodes.graph.bringup import Options, describe
from safevla_ros.nodes.graph.supervisor import Supervisor
from safevla_ros.nodes.operator import Operator, run_scenario
from safevla_ros.nodes.run_state import RunState

SCENARIO = "{name: operator, seed: 3, rooms: 1, task: find, policy: do-nothing, time_limit_s: 4}"


@pytest.fixture
def supervisor(tmp_path, domain):
    """The graph, up."""
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO)
    options = Options(scenario=str(scenario), directory=str(tmp_path / "bags"))
    graph = describe(options)
    graph = dataclasses.replace(
        graph, nodes=tuple(dataclasses.replace(node, required=True) for node in graph.nodes)
    )
    with Supervisor(graph, tmp_path / "logs") as running:
        running.bring_up()
        yield running


@pytest.fixture
def operator(supervisor):
    """A person on the graph."""
    made = Operator(RunState(), context=supervisor.context)
    supervisor.add_node(made)
    return made


def spinning(supervisor):
    """A Wait that spins the supervisor."""

    def wait(condition, timeout_s):
        end = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < end:
            supervisor.spin(0.05)
        return condition()

    return wait


def monitor_pid() -> int:
    return next(
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "__node:=cost_monitor" in process.cmdline()
    )


def test_a_run_is_started_seen_and_ended(supervisor, operator):
    wait, state = spinning(supervisor), operator.state

    # The monitor is held up before the run: it latches a stop, which the start of the run releases.
    assert wait(operator.is_connected, 60.0)
    os.kill(monitor_pid(), signal.SIGSTOP)
    wait(lambda: False, 1.5)
    os.kill(monitor_pid(), signal.SIGCONT)
    assert wait(lambda: state.latched, 30.0)

    result = run_scenario(operator, wait)
    assert result.completed
    assert result.outcome == "FAILURE"
    assert not state.latched
    assert "reset" in [event.kind for event in state.events]

    assert state.instruction
    assert state.task == "find"
    assert state.mode == "enforce"
    assert state.watchdog_alive
    assert state.step == result.steps > 0
    assert state.elapsed_s > 3.0
    assert set(state.terms) >= {"collision", "drop", "zone_intrusion"}
    assert state.terms["collision"].budget > 0.0
    assert sum(state.counts.values()) > 0
    assert state.inference_ms >= 0.0
    assert state.camera_to_command_ms > 0.0
