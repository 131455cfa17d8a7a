"""The whole graph under both runners: `safevla up`, and launch where launch_ros is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import Graph
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock

from safevla_ros.msg import Heartbeat, SafetyStatus
from safevla_ros.nodes import topics
from safevla_ros.nodes.graph.bringup import Options, describe
from safevla_ros.nodes.graph.process import programs_folder

START_DEADLINE_S = 200.0  # the first start compiles the ray camera
RESPAWN_DEADLINE_S = 120.0

SCENARIO = """
name: bringup
seed: 3
rooms: 1
task: find
policy: do-nothing
time_limit_s: 60
"""

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from safevla_ros.paths import share_directory

file = str(share_directory() / "launch" / sys.argv[1])
arguments = dict(word.split(":=", 1) for word in sys.argv[2:])
service = LaunchService()
service.include_launch_description(LaunchDescription([
    IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=arguments.items())
]))
sys.exit(service.run())
"""


def command(runner: str, folder: Path) -> list[str]:
    """How a user starts the graph."""
    scenario = folder / "scenario.yaml"
    scenario.write_text(SCENARIO)
    if runner == "up":
        program = str(programs_folder() / "safevla")
        options = ["--robot", "sim", "--scenario", str(scenario), "--directory", str(folder)]
        return [program, "up", *options]
    arguments = ["robot:=sim", f"scenario:={scenario}", f"directory:={folder / 'bags'}"]
    return [sys.executable, "-c", LAUNCH, "bringup.launch.py", *arguments]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("SAFEVLA_TEST_MARK")
    except psutil.Error:  # gone, or somebody else's
        return None


class Running:
    """The graph as started by a runner, and an onlooker."""

    def __init__(self, runner: str, folder: Path) -> None:
        self.runner = runner
        self.folder = folder
        self.described = describe(Options(robot="sim", scenario="", policy="do-nothing"))
        self.onlooker = Graph(folder)
        self._mark = uuid.uuid4().hex
        self.watchdog = self.onlooker.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT)
        self.monitor = self.onlooker.collect(Heartbeat, topics.MONITOR_HEARTBEAT)
        self.clock = self.onlooker.collect(Clock, "clock", qos_profile_sensor_data)
        self.output = folder / "output.txt"
        self.process = self.start(self.output)

    def start(self, output: Path) -> subprocess.Popen:
        """Start the graph, or another one."""
        environment = dict(os.environ, SAFEVLA_TEST_MARK=self._mark)
        with output.open("wb") as file:
            return subprocess.Popen(
                command(self.runner, self.folder),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def state(self, name: str) -> int | None:
        """Lifecycle state of a node; None when it does not answer."""
        client = self.onlooker.node.create_client(GetState, f"{name}/get_state")
        try:
            if not client.wait_for_service(2.0):
                return None
            future = client.call_async(GetState.Request())
            # A node that hardly gets the processor answers late; asked anew each time, never.
            end = time.monotonic() + 5.0
            while not future.done() and time.monotonic() < end:
                time.sleep(0.01)
            return future.result().current_state.id if future.done() else None
        finally:
            self.onlooker.node.destroy_client(client)

    def wait_active(self, name: str, deadline_s: float = START_DEADLINE_S) -> None:
        """Until a node is active."""
        end = time.monotonic() + deadline_s
        while self.state(name) != State.PRIMARY_STATE_ACTIVE:
            assert self.process.poll() is None, f"the runner ended:\n{self.said()}"
            assert time.monotonic() < end, f"{name} is not active:\n{self.said()}"

    def pid_of(self, name: str) -> int:
        """Process of a node."""
        return next(
            process.pid for process in self.processes() if f"__node:={name}" in process.cmdline()
        )

    def processes(self) -> list[psutil.Process]:
        """Everything that was started here and still runs."""
        return [process for process in psutil.process_iter() if _mark_of(process) == self._mark]

    def said(self) -> str:
        """What the runner printed, and the nodes."""
        logs = "".join(
            f"--- {log.name}\n{log.read_text()}" for log in self.folder.glob("*/logs/*.log")
        )
        return self.output.read_text() + logs

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for process in self.processes():
            process.kill()
        self.onlooker.close()


def skip_without_launch() -> None:
    if importlib.util.find_spec("launch_ros") is None:
        pytest.skip("launch_ros is not installed: it comes with an installation of ROS 2")


@pytest.fixture(scope="class", params=["up", "launch"])
def running(request, domain, tmp_path_factory) -> Iterator[Running]:
    if request.param == "launch":
        skip_without_launch()
    graph = Running(request.param, tmp_path_factory.mktemp(request.param))
    yield graph
    graph.close()


class TestBringup:
    """One start of the graph for all of these, in this order: the last one ends it."""

    @pytest.mark.smoke
    def test_every_node_reaches_active(self, running):
        for node in running.described.nodes:
            running.wait_active(node.name)

    def test_safety_was_there_before_the_robot(self, running):
        first_clock, _ = running.clock.wait_entry()
        for heartbeat in (running.watchdog, running.monitor):
            arrival, _ = heartbeat.wait_entry()
            assert arrival < first_clock

    @pytest.mark.smoke
    def test_nobody_but_monitor_and_watchdog_publishes_final_commands(self, running):
        for topic in running.described.final_topics:
            publishers = running.onlooker.node.get_publishers_info_by_topic(topic)
            assert {p.node_name for p in publishers} == {"cost_monitor", "safety_watchdog"}

    def test_the_mode_is_the_profiles(self, running):
        status = running.onlooker.collect(SafetyStatus, topics.SAFETY_STATUS, topics.latched())
        assert status.wait().mode == SafetyStatus.ENFORCE

    def test_a_second_graph_is_refused_with_one_sentence(self, running):
        output = running.folder / "second.txt"
        second = running.start(output)
        code = second.wait(120.0)
        said = [line for line in output.read_text().splitlines() if "another graph" in line]
        assert len(said) == 1, output.read_text()
        assert "Traceback" not in output.read_text()
        assert code == (3 if running.runner == "up" else 1)
        assert running.state("cost_monitor") == State.PRIMARY_STATE_ACTIVE

    def test_a_node_that_is_deactivated_by_hand_stays_inactive(self, running):
        client = running.onlooker.node.create_client(ChangeState, "camera_ingest/change_state")
        request = ChangeState.Request()
        request.transition.id = Transition.TRANSITION_DEACTIVATE
        assert running.onlooker.call(client, request).success
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            assert running.state("camera_ingest") == State.PRIMARY_STATE_INACTIVE

    def test_a_node_that_the_graph_can_spare_comes_back(self, running):
        old = running.pid_of("camera_ingest")
        os.kill(old, signal.SIGKILL)
        end = time.monotonic() + RESPAWN_DEADLINE_S
        while running.state("camera_ingest") != State.PRIMARY_STATE_ACTIVE:
            assert time.monotonic() < end, running.said()
        assert running.pid_of("camera_ingest") != old
        assert running.state("cost_monitor") == State.PRIMARY_STATE_ACTIVE

    def test_the_exit_of_a_required_node_ends_the_graph(self, running):
        os.kill(running.pid_of("sim_robot"), signal.SIGKILL)
        assert running.process.wait(120.0) == 1
        reason = {"up": "was ended by SIGKILL", "launch": "exited with code -9"}[running.runner]
        assert f"sim_robot {reason}" in running.output.read_text()
        _, alive = psutil.wait_procs(running.processes(), timeout=60.0)
        assert alive == []


@pytest.mark.parametrize(("task", "code"), [("find", 0), ("juggle", 1)])
def test_a_launched_run_says_by_its_exit_code_whether_it_was_carried_through(
    domain, tmp_path, task, code
):
    skip_without_launch()
    scenario = tmp_path / "scenario.yaml"
    text = SCENARIO.replace("time_limit_s: 60", "time_limit_s: 3")
    scenario.write_text(text.replace("task: find", f"task: {task}"))
    output = tmp_path / "output.txt"
    with output.open("wb") as file:
        run = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, "sim.launch.py", f"scenario:={scenario}"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert run.wait(250.0) == code, output.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing is left, as it should be
            os.killpg(run.pid, signal.SIGKILL)
