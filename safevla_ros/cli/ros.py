"""What the verbs that start or ask a graph need of ROS, said in one sentence where it is not so."""

from __future__ import annotations

import os

from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.nodes.graph.domain import DomainError, domain_id
from safevla_ros.nodes.graph.middleware import missing_middleware

HOW_TO_GET_ROS = (
    "run `make build` in a checkout of safevla_ros and use .venv/bin/safevla, or install ROS 2, "
    "`colcon build` the package and source the workspace"
)


def require_ros() -> None:
    """Raises Failure where rclpy or this package's messages cannot be imported, or where
    ROS_DOMAIN_ID is no domain."""
    try:
        domain_id()
    except DomainError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    if sentence := missing_middleware(os.environ):
        raise Failure(ExitCode.LACKS_SOFTWARE, sentence)
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise Failure(
            ExitCode.LACKS_SOFTWARE,
            f"this needs ROS 2, and rclpy cannot be imported ({error}): {HOW_TO_GET_ROS}",
        ) from None
    try:
        import safevla_ros.msg  # noqa: F401
    except ImportError as error:
        raise Failure(
            ExitCode.LACKS_SOFTWARE,
            f"the messages of safevla_ros are not built ({error}): {HOW_TO_GET_ROS}",
        ) from None
