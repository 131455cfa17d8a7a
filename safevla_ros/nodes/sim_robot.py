"""The simulated robot: a robot's topics, services and clock from a scenario in MuJoCo.

The simulation belongs to one thread, which lets it run at `real_time_factor` of the steady clock:
never faster, and where the machine is too slow, slower, with a warning on /diagnostics. Commands,
episodes and requests reach that thread through queues, so nothing that the executor does delays
the clock.

Each tick of 20 ms of simulated time gives /clock, joint states, odometry, localisation and
contacts; scan, objects and cameras follow at 10 Hz, on ticks of their own each, so that no tick is
long. ROS time starts at one second, since a stamp of zero means "none", and never goes back: a
reset starts the world anew, not the clock.

The camera images carry noise of one in the lowest bit: without it a robot that stands would look
like a camera that froze.

It also judges the task, on Episode: it publishes TaskOutcome as soon as the verdict is certain,
and at the latest when the episode is ENDING. Who runs another episode in a scenario that is over,
without a reset in between, gets UNKNOWN.
"""

from __future__ import annotations

import array
import concurrent.futures
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from safevla_ros.msg import Contact, Contacts, Episode, SceneObject, SceneObjects, TaskOutcome
from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import ConfigurationError, Diagnostics, GraphNode, spin
from safevla_ros.robot import messages
from safevla_ros.robot.profile import Camera
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity
from safevla_ros.simulation.scenario import ScenarioError, load_scenario
from safevla_ros.simulation.simulation import Simulation
from safevla_ros.srv import ResetScenario

TICK_S = 0.02
TICK_NS = 20_000_000
START_NS = NANOSECONDS
SLOW_TICKS = 5
"""Every so many ticks come scan, objects and cameras."""
SCAN_TICK, OBJECTS_TICK, CAMERA_TICK = 2, 4, 0
"""Which of the SLOW_TICKS each of them takes."""
RESET_TIMEOUT_S = 60.0
"""Generating a home takes well below a second, unless code is compiled for it."""


@dataclass(frozen=True, slots=True)
class Output:
    """A signal of the profile: how its message is made, and on which of the slow ticks (None: on
    all ticks)."""

    make: Callable[[], Any]
    publisher: Any
    tick: int | None = None


class SimRobot(GraphNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("sim_robot")
        self._scenario = self.declare(
            "scenario", "default", "Name under sim/scenarios/, or path of a .yaml file"
        )
        self._factor = self.declare(
            "real_time_factor",
            1.0,
            "Simulated seconds per second; fewer where the machine is too slow",
            lower=0.01,
            upper=100.0,
        )
        self._height = self.declare("camera_height", 224, "Height of images [px]", 16, 1080)
        self._width = self.declare("camera_width", 224, "Width of images [px]", 16, 1920)
        self._thread: threading.Thread | None = None

    def setup(self) -> None:
        """Build the world, and everything that the profile says the robot has."""
        if not self.profile.simulated:
            raise ConfigurationError(
                f"robot {self.profile.name!r}: expected a profile with `simulated: true`"
            )
        # It makes the clock that the other nodes read; its own time is the wall's.
        self.set_parameters([Parameter("use_sim_time", value=False)])
        try:
            scenario = load_scenario(self._scenario)
            self._simulation = Simulation(scenario, self.profile)
        except ScenarioError as error:
            raise ConfigurationError(str(error)) from error
        self._noise = np.random.default_rng(scenario.seed).integers(
            2, size=4 * self._width * self._height * 3, dtype=np.uint8
        )
        self._random = np.random.default_rng(scenario.seed)
        self._now_ns = START_NS
        self._tick = 0
        self._judge = Judge(self._simulation)
        self._stop = threading.Event()
        # From the executor's thread to the simulation's. Of base commands only the latest counts;
        # joint targets add up.
        self._base_commands: deque[Any] = deque(maxlen=1)
        self._joint_commands: deque[Any] = deque(maxlen=100)
        self._episodes: deque[Any] = deque()
        self._resets: queue.SimpleQueue[tuple[str, Future]] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._pace = Pace(self._factor)
        self.timer(0.2, self._check)
        self._subscribe()
        self._advertise()
        self._warm_up()
        self._description.publish(String(data=self._simulation.robot_description))

    def _subscribe(self) -> None:
        def into(mailbox: deque[Any]) -> Callable[[Any], None]:
            def put(message: Any) -> None:  # rclpy asks for a signature, which built-ins lack
                mailbox.append(message)

            return put

        base, joints = self.profile.outputs.base, self.profile.outputs.joints
        kind = Twist if base.type == "geometry_msgs/msg/Twist" else TwistStamped
        latest = topics.reliable(depth=1)
        self.subscription(kind, base.topic, into(self._base_commands), latest)
        for output in joints:
            if output.topic is None:
                raise ConfigurationError(
                    f"robot {self.profile.name!r}: outputs.joints: the simulated robot takes "
                    f"trajectories on a topic, not through the action {output.action!r}"
                )
            self.subscription(
                JointTrajectory, output.topic, into(self._joint_commands), topics.reliable()
            )
        self.subscription(Episode, topics.EPISODE, into(self._episodes), topics.latched(depth=10))
        self.service(ResetScenario, topics.RESET_SCENARIO, self._on_reset)

    def _advertise(self) -> None:
        makers = {
            "joint_states": (JointState, self._joint_states, None),
            "odometry": (Odometry, self._odometry, None),
            "localisation": (PoseWithCovarianceStamped, self._localisation, None),
            "contacts": (Contacts, self._contacts, None),
            "scan": (LaserScan, self._scan, SCAN_TICK),
            "objects": (SceneObjects, self._objects, OBJECTS_TICK),
        }
        self._outputs = []
        for name, signal in self.profile.signals.present().items():
            kind, make, tick = makers[name]
            qos = topics.sensor(is_reliable=signal.reliable)
            # The monitor also listens for a pose that is kept, which this one is not.
            publisher = self.publisher(kind, signal.topic, qos, warn=name != "localisation")
            self._outputs.append(Output(make, publisher, tick))
        for camera in self.profile.cameras:
            qos = topics.sensor(is_reliable=camera.reliable)
            if camera.type != "sensor_msgs/msg/Image":
                raise ConfigurationError(
                    f"robot {self.profile.name!r}: cameras: the simulated robot gives "
                    f"sensor_msgs/msg/Image, not {camera.type}"
                )
            image = self.publisher(Image, camera.topic, qos)
            self._outputs.append(Output(partial(self._image, camera), image, CAMERA_TICK))
            if camera.info_topic is not None:
                info = self.publisher(CameraInfo, camera.info_topic, qos)
                self._outputs.append(Output(partial(self._camera_info, camera), info, CAMERA_TICK))
        self._clock_publisher = self.publisher(
            Clock, "/clock", topics.sensor(is_reliable=False, depth=1)
        )
        self._description = self.publisher(String, "robot_description", topics.latched())
        self._verdicts = None
        if self.profile.outcome_topic is not None:
            self._verdicts = self.publisher(
                TaskOutcome, self.profile.outcome_topic, topics.reliable()
            )

    def _warm_up(self) -> None:
        """Run once what is compiled on first use, so that no tick waits for a compiler."""
        self._simulation.advance(TICK_S)
        for output in self._outputs:
            output.make()
        self._simulation.reset()

    def start(self) -> None:
        """Let time run."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let time stand still."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def teardown(self) -> None:
        """Time stands still for good."""
        self.stop()

    def last_action(self) -> None:
        """Nothing is published any more."""
        self.stop()

    def report(self) -> None:
        """How fast time passes."""
        if not self.active or not self._pace.settled:
            return
        asked, reached = self._factor, self._pace.reached()
        self.diagnostics.values["scenario"] = self._simulation.scenario.name
        self.diagnostics.values["seed"] = self._simulation.scenario.seed
        self.diagnostics.values["real_time_factor"] = f"{reached:.2f}"
        self.diagnostics.values["tick_ms_p99"] = f"{self._pace.busy_ms(99):.1f}"
        level = Diagnostics.OK if reached >= 0.95 * asked else Diagnostics.WARN
        message = f"{reached:.2f} simulated seconds per second, {asked:g} asked for"
        self.diagnostics.set_status(level, message)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    # What follows runs in the simulation's thread.

    def _run(self) -> None:
        try:
            self._let_time_pass()
        except Exception as error:  # raised again where it ends the process
            self._failure = error

    def _let_time_pass(self) -> None:
        pace = self._pace = Pace(self._factor)
        while not self._stop.is_set():
            self._reset_if_asked()
            self._apply_commands()
            self._simulation.advance(TICK_S)
            self._now_ns += TICK_NS
            self._publish()
            self._judge_task()
            self._tick += 1
            pace.wait()

    def _apply_commands(self) -> None:
        while self._base_commands:
            msg = self._base_commands.popleft()
            twist = msg.twist if isinstance(msg, TwistStamped) else msg
            velocity = BaseVelocity(twist.linear.x, twist.linear.y, twist.angular.z)
            self._simulation.drive(velocity)
        while self._joint_commands:
            msg = self._joint_commands.popleft()
            if not msg.points:
                continue
            targets = dict(zip(msg.joint_names, msg.points[-1].positions, strict=False))
            try:
                self._simulation.move_joints(targets)
            except KeyError as error:
                self.get_logger().error(f"joint trajectory refused: unknown joint {error}")

    def _publish(self) -> None:
        clock = Clock()
        messages.set_stamp(clock.clock, self._now_ns)
        self._clock_publisher.publish(clock)
        for output in self._outputs:
            if output.tick is None or output.tick == self._tick % SLOW_TICKS:
                message = output.make()
                messages.set_stamp(message.header.stamp, self._now_ns)
                output.publisher.publish(message)

    def _joint_states(self) -> JointState:
        message = JointState()
        messages.fill_joint_states(message, self._simulation.joints())
        return message

    def _odometry(self) -> Odometry:
        message = Odometry()
        messages.fill_odometry(message, self._simulation.odometry(), self.profile.frames.base)
        return message

    def _localisation(self) -> PoseWithCovarianceStamped:
        message = PoseWithCovarianceStamped()
        messages.fill_localisation(message, self._simulation.localisation())
        return message

    def _contacts(self) -> Contacts:
        message = Contacts()
        messages.fill_contacts(message, self._simulation.contacts(), Contact)
        message.header.frame_id = self.profile.frames.map
        return message

    def _scan(self) -> LaserScan:
        message = LaserScan()
        messages.fill_scan(message, self._simulation.scan())
        return message

    def _objects(self) -> SceneObjects:
        message = SceneObjects()
        messages.fill_scene_objects(message, self._simulation.objects(), SceneObject)
        return message

    def _image(self, camera: Camera) -> Image:
        pixels = self._simulation.render(camera.name, self._width, self._height)
        first = int(self._random.integers(self._noise.size - pixels.size))
        pixels = pixels ^ self._noise[first : first + pixels.size].reshape(pixels.shape)
        message = Image(encoding="rgb8", height=self._height, width=self._width)
        message.header.frame_id = camera.frame
        message.step = self._width * 3
        message.data = array.array("B")
        message.data.frombytes(pixels.data)
        return message

    def _camera_info(self, camera: Camera) -> CameraInfo:
        info = self._simulation.camera_info(camera.name, self._width, self._height)
        message = CameraInfo(height=info.height, width=info.width, distortion_model="plumb_bob")
        message.header.frame_id = camera.frame
        message.d = [0.0] * 5
        message.k = [info.fx, 0.0, info.cx, 0.0, info.fy, info.cy, 0.0, 0.0, 1.0]
        message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        message.p = [info.fx, 0.0, info.cx, 0.0, 0.0, info.fy, info.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        return message

    def _judge_task(self) -> None:
        while self._episodes:
            self._judge.take(self._episodes.popleft())
        verdict = self._judge.verdict()
        if verdict is None or self._verdicts is None:
            return
        message = TaskOutcome(episode_id=self._judge.episode_id)
        messages.set_stamp(message.header.stamp, self._now_ns)
        name, message.reason = verdict
        message.outcome = getattr(Episode, name)
        self._verdicts.publish(message)

    # Resets: the executor's thread asks, the simulation's thread answers.

    def _on_reset(
        self, request: ResetScenario.Request, response: ResetScenario.Response
    ) -> ResetScenario.Response:
        if self._thread is None:
            response.message = "the simulation is not active"
            return response
        answer: Future[ResetScenario.Response] = Future()
        self._resets.put((request.scenario, answer))
        try:
            return answer.result(RESET_TIMEOUT_S)
        except concurrent.futures.TimeoutError:  # not the built-in one before Python 3.11
            response.message = f"no answer from the simulation within {RESET_TIMEOUT_S:g} s"
            return response

    def _reset_if_asked(self) -> None:
        try:
            name, answer = self._resets.get_nowait()
        except queue.Empty:
            return
        try:
            answer.set_result(self._reset(name))
        except Exception as error:  # the caller gets it; the world goes on as it was
            answer.set_exception(error)

    def _reset(self, name: str) -> ResetScenario.Response:
        response = ResetScenario.Response()
        if self._judge.episode_runs:
            response.message = f"episode {self._judge.episode_id} is running"
            return response
        try:
            scenario = load_scenario(name) if name else None
            self._simulation.reset(scenario)
        except ScenarioError as error:
            response.message = str(error)
            return response
        self._base_commands.clear()
        self._joint_commands.clear()
        self._judge = Judge(self._simulation)
        instruction = self._simulation.instruction()
        response.success = True
        response.message = f"scenario {self._simulation.scenario.name}"
        response.instruction = instruction.text
        response.task = instruction.task
        response.target_class = instruction.target_class
        response.target_ids = list(instruction.target_ids)
        response.time_limit_s = self._simulation.scenario.time_limit_s
        return response


class Judge:
    """Follows the episode and gives its verdict once, as soon as it is certain."""

    def __init__(self, simulation: Simulation) -> None:
        self.episode_id = ""
        self.episode_runs = False
        self._simulation = simulation
        self._decided_before = False
        self._given = True
        self._ending = False

    def take(self, episode: Episode) -> None:
        """Take an Episode message."""
        if episode.id != self.episode_id:
            self.episode_id = episode.id
            self._given = self._ending = False
            self._decided_before = self._simulation.outcome()[0] is not None
        self.episode_runs = episode.state != Episode.ENDED
        if episode.state == Episode.ENDING and not self._ending:
            self._ending = True
            if episode.end_declared:
                self._simulation.declare_end()

    def verdict(self) -> tuple[str, str] | None:
        """Name of the outcome, as in the Episode message, and its reason; None: nothing to say."""
        if self._given or not self.episode_runs:
            return None
        if self._decided_before:
            verdict = ("UNKNOWN", "the scenario was over before the episode began; reset it")
        else:
            outcome, reason = self._simulation.outcome()
            if outcome is not None:
                verdict = (outcome.name, reason)
            elif self._ending:
                verdict = ("FAILURE", "the episode's limit came before the task was done")
            else:
                return None
        self._given = True
        return verdict


class Pace:
    """Keeps simulated time to `factor` of the steady clock.

    A late tick may be made up for by at most one tick: after a longer delay time goes on from
    there, because a robot that hurries through what it missed would be faster than asked.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._period_s = TICK_S / factor
        self._due = time.monotonic()
        self._ended: deque[float] = deque([self._due], maxlen=101)
        self._busy: deque[float] = deque([0.0], maxlen=100)

    def wait(self) -> None:
        """Sleep until the tick that has just been computed is over."""
        now = time.monotonic()
        self._busy.append(now - self._ended[-1])
        self._due = max(self._due + self._period_s, now - self._period_s)
        time.sleep(max(0.0, self._due - now))
        self._ended.append(time.monotonic())

    @property
    def settled(self) -> bool:
        """Whether enough ticks have passed to say how fast it goes."""
        return len(self._ended) > 25

    def reached(self) -> float:
        """Simulated seconds per second over the last 100 ticks."""
        ended = list(self._ended)
        return (len(ended) - 1) * TICK_S / max(ended[-1] - ended[0], 1e-9)

    def busy_ms(self, percentile: float) -> float:
        """Wall time that a tick takes to compute [ms], over the last 100 ticks."""
        return 1e3 * float(np.percentile(list(self._busy), percentile))


def main(args: list[str] | None = None) -> int:
    """Entry point of the process."""
    return spin(SimRobot, args)


if __name__ == "__main__":
    raise SystemExit(main())
