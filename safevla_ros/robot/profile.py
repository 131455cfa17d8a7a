"""Robot profiles: one YAML file per robot under config/robots/, checked by this schema.

A profile says which topics a robot has and of which type, who may command it, how it is stopped,
how fast it may move, and what its cameras are. Nodes read nothing else about the robot.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from safevla_ros.paths import share_directory
from safevla_ros.yaml_file import read_yaml

Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


def _topic_name(name: str) -> str:
    if not re.fullmatch(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", name, re.ASCII):
        raise ValueError(f"expected the name of a ROS topic, got {name!r}")
    return name


def _type_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*", name):
        raise ValueError(f"expected a message type as package/msg/Type, got {name!r}")
    return name


TypeName = Annotated[str, AfterValidator(_type_name)]
TopicName = Annotated[str, AfterValidator(_topic_name)]

Mode = Literal["shadow", "observe", "enforce"]


class ProfileError(ValueError):
    """A profile that cannot be used; the message names file, key and what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Frames(_Strict):
    """Names of the frames that messages use."""

    base: str = "base_link"
    odom: str = "odom"
    map: str = "map"


class Signal(_Strict):
    """A topic that the monitor reads. `max_age_s`: older than this is stale."""

    topic: TopicName
    type: TypeName
    reliable: bool = True
    max_age_s: Positive
    required: bool = False


class Signals(_Strict):
    """The robot's signals by the names that cost terms use. None: the robot has no such topic."""

    joint_states: Signal
    odometry: Signal
    localisation: Signal | None = None
    scan: Signal | None = None
    points: Signal | None = None
    grid: Signal | None = None
    objects: Signal | None = None
    contacts: Signal | None = None

    def present(self) -> dict[str, Signal]:
        """The signals that this robot has, by name."""
        return {
            name: signal
            for name in type(self).model_fields
            if (signal := getattr(self, name)) is not None
        }


class Compression(_Strict):
    """How a camera's images are recorded: `jpeg` with a `quality` (1 to 100, 90 when none is given),
    or `png`, which loses nothing."""

    SUFFIX: ClassVar[str] = "/compressed"
    """What the recorded topic's name ends with, as image_transport has it."""
    TYPE: ClassVar[str] = "sensor_msgs/msg/CompressedImage"
    """The recorded topic's type."""

    format: Literal["jpeg", "png"]
    quality: Annotated[int, Field(ge=1, le=100)] | None = None

    @model_validator(mode="after")
    def _lossy(self) -> Compression:
        if self.format == "png" and self.quality is not None:
            raise ValueError("quality: png has none, it loses nothing")
        return self


class Camera(_Strict):
    """A camera that the policy looks through.

    `device`: a camera without a driver of its own, which camera_ingest opens (a device number or
    path, a video file or a URL, as OpenCV takes them) and publishes on `topic`.
    `rotate_deg`: by how much its images are turned clockwise to stand upright, for a camera that is
    mounted on its side. `vertical_fov_deg`: of the upright image. `compress`: how the images are
    recorded; None: as the bytes that came.
    """

    name: str
    topic: TopicName
    type: TypeName = "sensor_msgs/msg/Image"
    device: str | None = None
    info_topic: TopicName | None = None
    reliable: bool = False
    frame: str
    rotate_deg: Literal[0, 90, 180, 270] = 0
    vertical_fov_deg: Annotated[float, Field(gt=1.0, lt=179.0)]
    compress: Compression | None = None

    @model_validator(mode="after")
    def _raw(self) -> Camera:
        if self.compress is not None and self.type != "sensor_msgs/msg/Image":
            raise ValueError(f"compress: expected images of sensor_msgs/msg/Image, not {self.type}")
        return self

    @property
    def recorded_topic(self) -> str:
        """Topic under which its images stand in a bag."""
        return self.topic if self.compress is None else self.topic + Compression.SUFFIX


class CommandSource(_Strict):
    """Somebody who may command the robot (twist_mux's terms: the highest live priority wins).

    `observation_max_age_s`: how old a chunk's observation may be when its first step is due.
    """

    name: str
    topic: TopicName
    type: Literal["safevla_ros/msg/CandidateCommand", "geometry_msgs/msg/Twist"]
    priority: Annotated[int, Field(ge=0, le=254)]
    timeout_s: Positive
    observation_max_age_s: Positive = 5.0

    @property
    def is_policy(self) -> bool:
        """Whether it plans from what the cameras see."""
        return self.type.endswith("/CandidateCommand")


class EmergencyStop(_Strict):
    """A std_msgs/Bool topic, true: stop. `required`: it must be alive, silence stops too."""

    topic: TopicName
    required: bool = False
    timeout_s: Positive = 1.0


class BaseOutput(_Strict):
    """Where base velocities go."""

    topic: TopicName
    type: Literal["geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"]


class JointOutput(_Strict):
    """Where joint targets go: a JointTrajectory topic, or a FollowJointTrajectory action server."""

    joints: Annotated[list[str], Field(min_length=1)]
    topic: TopicName | None = None
    action: TopicName | None = None

    @model_validator(mode="after")
    def _one_of(self) -> JointOutput:
        if (self.topic is None) == (self.action is None):
            raise ValueError("expected exactly one of `topic` and `action`")
        return self


class Trigger(_Strict):
    """A service that is called for its effect: std_srvs/Trigger, or SetBool with true."""

    service: TopicName
    type: Literal["std_srvs/srv/Trigger", "std_srvs/srv/SetBool"] = "std_srvs/srv/Trigger"


class Outputs(_Strict):
    """Final commands and the services that go with them.

    `driver_timeout_s`: silence after which the robot's own driver stops the base. It is the last
    line of defence when the network fails, so a profile must state it.
    """

    base: BaseOutput
    joints: list[JointOutput] = []
    stop_service: Trigger | None = None
    mode_service: Trigger | None = None
    driver_timeout_s: Positive

    def final_topics(self) -> dict[str, str]:
        """Topics that nobody but monitor and watchdog may publish, with their types."""
        topics: dict[str, str] = {self.base.topic: self.base.type}
        for output in self.joints:
            if output.topic is not None:
                topics[output.topic] = "trajectory_msgs/msg/JointTrajectory"
        return topics


class BaseLimits(_Strict):
    """Speed and acceleration of the base: linear [m/s, m/s^2], yaw [rad/s, rad/s^2].

    `contact_m_s`, `contact_rad_s`: where the robot has no contact sensor, so much more speed lost within
    0.1 s than by braking at these rates means that the base hit something. Above the noise of its
    odometry; the base must never brake faster. None: it feels nothing.
    """

    linear_m_s: Positive
    yaw_rad_s: Positive
    linear_m_s2: Positive
    yaw_rad_s2: Positive
    contact_m_s: Positive | None = None
    contact_rad_s: Positive | None = None


class JointLimits(_Strict):
    """Range [rad or m], speed [1/s of it] and effort [N m or N] of one joint.

    `contact_effort`: where the robot has no contact sensor, what is so much more or less than
    `free_effort`, the joint's load against gravity, means that it touches something. In the unit in
    which the robot reports efforts. None: it feels nothing.
    """

    lower: float
    upper: float
    velocity: Positive
    effort: Positive | None = None
    contact_effort: Positive | None = None
    free_effort: float = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> JointLimits:
        if self.lower >= self.upper:
            raise ValueError("expected lower < upper")
        return self


class Separation(_Strict):
    """What the robot needs to stop before it reaches a person (speed and separation monitoring):
    deceleration [m/s^2], None: as the base brakes; what a person may reach beyond where they are
    seen (C); how well both are known (Z); and the time from a decision until the driver acts."""

    deceleration_m_s2: Positive | None = None
    intrusion_m: NonNegative = 0.1
    uncertainty_m: NonNegative = 0.1
    driver_delay_s: NonNegative = 0.05


class Limits(_Strict):
    """What the robot may do at most, whatever a policy asks."""

    base: BaseLimits
    joints: dict[str, JointLimits]
    separation: Separation = Separation()


class Roles(_Strict):
    """Which joint plays which part in the paper's action space (see action_codec)."""

    lift: str
    arm: str
    wrist: str
    gripper: str
    gripper_open: float
    gripper_closed: float


class Profile(_Strict):
    """A robot. See config/robots/sim.yaml for a commented example."""

    name: str
    description: str
    urdf: str
    simulated: bool = False
    frames: Frames = Frames()
    mode: Mode = "shadow"
    step_s: Positive
    specification: str = "household"
    heartbeat_timeout_s: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    signals: Signals
    cameras: Annotated[list[Camera], Field(min_length=1)]
    sources: Annotated[list[CommandSource], Field(min_length=1)]
    estop: EmergencyStop | None = None
    outputs: Outputs
    limits: Limits
    roles: Roles
    footprint_radius_m: Positive
    outcome_topic: TopicName | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        for role in ("lift", "arm", "wrist", "gripper"):
            if (joint := getattr(self.roles, role)) not in self.limits.joints:
                raise ValueError(f"roles.{role}: expected one of limits.joints, got {joint!r}")
        commanded = [joint for output in self.outputs.joints for joint in output.joints]
        for joint in commanded:
            if joint not in self.limits.joints:
                raise ValueError(f"outputs.joints: no limits for joint {joint!r}")
        for kind, names in (
            ("sources", [source.name for source in self.sources]),
            ("cameras", [camera.name for camera in self.cameras]),
            ("cameras, as recorded", [camera.recorded_topic for camera in self.cameras]),
            ("outputs.joints", commanded),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{kind}: names must differ, got {names}")
        return self


def urdf_path(profile: Profile) -> Path:
    """The robot's URDF: absolute, below this package's share folder, or `package://NAME/...` in the
    share folder of another ROS package. Raises ProfileError, naming where it was looked for.
    """
    if profile.urdf.startswith("package://"):
        relative = profile.urdf.removeprefix("package://")
        prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
        candidates = [Path(prefix, "share", relative) for prefix in prefixes]
    else:
        candidates = [share_directory() / profile.urdf]
    for path in candidates:
        if path.is_file():
            return path
    looked = ", ".join(map(str, candidates)) or "nowhere: AMENT_PREFIX_PATH is empty"
    raise ProfileError(
        f"robot {profile.name!r}: urdf: expected a file at {profile.urdf}, looked for: {looked}"
    )


def profile_path(name_or_path: str) -> Path:
    """File of a profile: a path as it is, or a name under config/robots/.

    Raises ProfileError, naming the profiles there are.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    folder = share_directory() / "config" / "robots"
    path = folder / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise ProfileError(
            f"robot {name_or_path!r}: expected one of {known}, or a path to a .yaml file"
        )
    return path


def load_profile(name_or_path: str) -> Profile:
    """Read and check a profile by name or path. Raises ProfileError."""
    path = profile_path(name_or_path)
    data = read_yaml(path, ProfileError)
    if not isinstance(data, dict):
        raise ProfileError(f"{path}: expected a mapping at the top")
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, item['loc'])) or 'profile'}: "
            f"{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise ProfileError("\n".join(lines)) from error
