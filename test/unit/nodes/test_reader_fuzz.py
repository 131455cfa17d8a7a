"""Whatever the graph's own messages say, as long as they are of their type: they are refused with a
sentence, or gate and costs cope with them, and no command exceeds the robot's limits."""

from __future__ import annotations

from types import SimpleNamespace as Message

import numpy as np
from command_limits import assert_within
from hypothesis import given, settings
from hypothesis import strategies as st

from safevla_ros.nodes.monitor.camera_health import CameraHealth
from safevla_ros.nodes.monitor.episode_costs import EpisodeCosts
from safevla_ros.nodes.monitor.latency import LatencyWindow
from safevla_ros.nodes.monitor.readers import (
    is_motion,
    read_chunk,
    read_episode,
    read_proposal,
)
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.messages import MessageError, set_stamp
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Capsule, Joint
from safevla_ros.safety import Gate, WorldState, load_specification

NOW_NS = 10 * NANOSECONDS
PROFILE = load_profile("sim")
SPECIFICATION = load_specification("household")
POLICY = next(source for source in PROFILE.sources if source.is_policy)
JOYSTICK = next(source for source in PROFILE.sources if not source.is_policy)
LONGEST_SENTENCE = 1000

numbers = st.one_of(
    st.floats(-2.0, 2.0), st.sampled_from([0.0, 0.02, 0.5, 1e-300, 5e-324, 1e300]), st.floats()
)
floats32 = st.one_of(st.sampled_from([0.0, 0.02, 0.5, 1e-45, 3e38]), st.floats(width=32))
counts = st.one_of(st.integers(0, 3), st.just(2**32 - 1), st.integers(0, 2**32 - 1))
words = st.sampled_from(["", "one", "two", "policy", "é\n" * 500, "\x00", "{x}%s"])
frames = st.sampled_from(["", PROFILE.frames.base, PROFILE.frames.base, "map", "nowhere" * 90])
columns = st.sampled_from(["base.x", "base.y", "base.yaw", *PROFILE.limits.joints, "tail" * 200])
times = st.one_of(
    st.just(Message(sec=10, nanosec=0)),
    st.builds(
        Message,
        sec=st.one_of(st.sampled_from([0, 9, -(2**31), 2**31 - 1]), st.integers(9, 11)),
        nanosec=st.sampled_from([0, 1, 999_999_999, 2**32 - 1]),
    ),
)


def message(**fields):
    return st.builds(Message, **fields)


def table(names: list[str]):
    """Data for these columns: whole rows, of which there may be very many, or any number."""
    row = st.lists(numbers, min_size=len(names), max_size=len(names))
    many = st.sampled_from([0, 1, 3, 20, 200, 100_000])
    return st.one_of(
        st.builds(lambda one, other, many: one + other * many, row, row, many),
        st.lists(numbers, max_size=5),
    )


headers = message(stamp=times, frame_id=frames)
vectors = message(x=numbers, y=numbers, z=st.one_of(st.just(0.0), numbers))
planars = message(
    linear=message(x=numbers, y=numbers, z=st.just(0.0)),
    angular=message(x=st.just(0.0), y=st.just(0.0), z=numbers),
)
twists = st.one_of(planars, message(linear=vectors, angular=vectors))
traces = st.lists(times, min_size=8, max_size=8).map(
    lambda ends: Message(
        **dict(
            zip(
                ("camera", "observation", "inference_start", "inference_end", "candidate"),
                ends,
                strict=False,
            ),
            gate_in=ends[5],
            command=ends[6],
        )
    )
)
joint_tables = st.one_of(
    st.lists(columns, max_size=3).flatmap(
        lambda names: st.tuples(
            st.just(names), st.lists(numbers, min_size=len(names), max_size=len(names))
        )
    ),
    st.tuples(st.lists(columns, max_size=3), st.lists(numbers, max_size=3)),
    st.just(([f"joint_{index}" for index in range(50_000)], [0.0] * 50_000)),
)
candidates = joint_tables.flatmap(
    lambda joints: message(
        header=headers, source=st.sampled_from(["policy", "policy", "joystick", "me" * 900]),
        episode_id=words, chunk_id=counts, step=counts, duration_s=floats32, twist=twists,
        joint_names=st.just(joints[0]), joint_positions=st.just(joints[1]), trace=traces,
    )
)  # fmt: skip
chunks = st.lists(columns, max_size=3).flatmap(
    lambda names: message(
        header=headers, episode_id=words, chunk_id=counts, first_step=counts, step_s=floats32,
        names=st.just(names), data=table(names),
    )
)  # fmt: skip
episodes = message(
    id=words, task=words, target_class=words, target_ids=st.lists(words, max_size=2),
    state=st.one_of(st.integers(0, 2), st.integers(0, 255)),
)  # fmt: skip
names = st.lists(st.sampled_from(["navigation", "", "x" * 900]), max_size=3)
cameras = names.flatmap(
    lambda names: st.one_of(
        st.builds(
            Message,
            camera_names=st.just(names),
            frozen=st.lists(st.booleans(), min_size=len(names), max_size=len(names)),
            lost=st.lists(st.booleans(), min_size=len(names), max_size=len(names)),
        ),
        st.builds(
            Message,
            camera_names=st.just(names),
            frozen=st.lists(st.booleans(), max_size=3),
            lost=st.lists(st.booleans(), max_size=3),
        ),
    )
)


def a_world(time_ns: int) -> WorldState:
    """A robot that stands before a wall, with all that the profile requires."""
    stamps = dict.fromkeys(PROFILE.signals.present(), time_ns)
    return WorldState(
        stamp_ns=time_ns, frame="map", base=planar(0.0, 0.0), velocity=BaseVelocity(),
        joints={name: Joint(0.1, 0.0) for name in PROFILE.limits.joints},
        links=(Capsule("mast", (0.0, 0.0, 0.1), (0.0, 0.0, 1.0), 0.1),), objects={}, contacts=(),
        obstacles=np.array([[0.6, side, 0.2] for side in np.linspace(-0.5, 0.5, 11)]),
        sources=stamps,
    )  # fmt: skip


class Monitor:
    """What the cost monitor does with these messages, without the node."""

    def __init__(self) -> None:
        self.gate = Gate(PROFILE, SPECIFICATION, "enforce")
        self.costs = EpisodeCosts(SPECIFICATION, self.gate.set_charged)
        self.cameras, self.latency = CameraHealth(), LatencyWindow()
        self.now_ns = NOW_NS

    def take(self, kind: str, each: Message) -> None:
        """Read one, and judge what runs."""
        self.now_ns += 100_000_000
        try:
            getattr(self, kind)(each)
        except MessageError as error:
            self.told(str(error))
        self.gate.set_cameras(self.cameras.fault(self.now_ns / NANOSECONDS))
        self.judge(None)
        self.latency.percentiles()

    def judge(self, proposal):
        self.now_ns += 20_000_000
        world, now_s = a_world(self.now_ns), self.now_ns / NANOSECONDS
        self.costs.sample(world)
        if proposal is None:
            verdict = self.gate.supervise(world, self.now_ns, now_s)
        else:
            verdict = self.gate.propose(proposal, world, self.now_ns, now_s)
            self.costs.judged(proposal, verdict)
        assert_within(PROFILE.limits, verdict.command)
        self.told(verdict.detail)

    def told(self, sentence: str) -> None:
        assert 0 < len(sentence) <= LONGEST_SENTENCE

    def episode(self, each):
        episode = read_episode(each)
        if episode.has_ended:
            self.costs.end()
            self.gate.end_episode()
        else:
            self.costs.begin(episode.id, episode.task)
            self.gate.start_episode(episode.id)

    def chunk(self, each):
        assert len(self.gate.set_chunk(read_chunk(each, PROFILE.frames.base))) <= LONGEST_SENTENCE

    def candidate(self, each):
        self.judge(read_proposal(POLICY, each, self.now_ns, PROFILE.frames.base))
        self.latency.add(each.trace)

    def twist(self, each):
        self.judge(read_proposal(JOYSTICK, each, self.now_ns, PROFILE.frames.base))

    def camera_status(self, each):
        self.cameras.hear(each, self.now_ns / NANOSECONDS)


KINDS = {
    "episode": episodes,
    "chunk": chunks,
    "candidate": candidates,
    "twist": twists,
    "camera_status": cameras,
}


@settings(max_examples=100, deadline=None)
@given(
    sent=st.lists(
        st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), KINDS[kind])),
        min_size=1,
        max_size=6,
    )
)
def test_no_message_of_the_graph_makes_gate_or_costs_fail(sent):
    monitor = Monitor()
    for kind, each in sent:
        monitor.take(kind, each)


@settings(max_examples=60, deadline=None)
@given(
    each=candidates,
    chunk=chunks,
    step_s=floats32,
    ahead_s=st.sampled_from([0.0, 0.05, -0.05, -3.0, 3.0]),
)
def test_a_candidate_that_is_in_time_within_its_chunk_is_coped_with(each, chunk, step_s, ahead_s):
    """As above, only that little stands in the way of these being accepted."""
    monitor = Monitor()
    monitor.take("episode", Message(id="one", task="", target_class="", target_ids=[], state=0))
    each.source, each.episode_id, each.header.frame_id = "policy", "one", ""
    each.chunk_id, each.step = chunk.chunk_id, chunk.first_step
    chunk.header, chunk.episode_id = Message(stamp=Message(), frame_id=""), "one"
    set_stamp(chunk.header.stamp, monitor.now_ns)
    monitor.take("chunk", chunk)
    each.header.stamp = Message()
    set_stamp(each.header.stamp, monitor.now_ns + 120_000_000 + round(ahead_s * NANOSECONDS))
    monitor.take("candidate", each)


@settings(max_examples=100, deadline=None)
@given(each=twists)
def test_the_watchdog_tells_motion_in_any_twist(each):
    components = [each.linear.x, each.linear.y, each.linear.z]
    components += [each.angular.x, each.angular.y, each.angular.z]
    assert is_motion(each) is any(value != 0.0 for value in components)
