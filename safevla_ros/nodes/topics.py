"""Names and QoS of the graph's own topics, so that both ends of each agree.

A robot's topics are in its profile. Names are relative: a namespace moves the whole graph.
"""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

OBSERVATION = "observation"
CAMERA_STATUS = "camera_status"
ACTION_CHUNK = "action_chunk"
GATED_ACTION = "gated_action"
COST_VECTOR = "cost_vector"
COST_SPECIFICATION = "cost_specification"
SAFETY_STATUS = "safety_status"
SAFETY_EVENT = "safety_event"
EPISODE = "episode"
MARKERS = "safety_markers"
MONITOR_HEARTBEAT = "heartbeat/monitor"
WATCHDOG_HEARTBEAT = "heartbeat/watchdog"

RUN_POLICY = "run_policy"
RECORD_EPISODE = "record_episode"
RESET_STOP = "reset_stop"
LOAD_POLICY = "load_policy"
SHADOW_POLICY = "shadow_policy"
ROLL_BACK_POLICY = "roll_back_policy"
RESET_SCENARIO = "reset_scenario"


def latched(depth: int = 1) -> QoSProfile:
    """A state that late joiners must see: reliable, transient local; its sender keeps the last one.

    A reader takes a `depth` where a state that is replaced at once must not escape it.
    """
    return QoSProfile(
        depth=depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def reliable(depth: int = 10) -> QoSProfile:
    """Commands, costs and events: all of them, in order."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def sensor(*, is_reliable: bool, depth: int = 5) -> QoSProfile:
    """A robot's signal, as its profile says."""
    policy = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=depth, reliability=policy)
