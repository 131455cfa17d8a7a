"""What the verbs that run a graph share: the described graph, and errors as exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.nodes.graph.bringup import Graph, Options


def describe_graph(options: Options) -> Graph:
    """The graph for these options. Raises Failure with the sentence of whatever is wrong."""
    from safevla_ros.nodes.graph.bringup import BringupError, describe
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.robot.profile import ProfileError
    from safevla_ros.safety.specification import SpecificationError
    from safevla_ros.simulation.scenario import ScenarioError

    try:
        return describe(options)
    except (
        BringupError,
        PolicyError,
        ProfileError,
        ScenarioError,
        SpecificationError,
    ) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error


@contextmanager
def graph_errors() -> Iterator[None]:
    """Within it, errors of a running graph become Failures."""
    from safevla_ros.nodes.graph.domain import DomainError
    from safevla_ros.nodes.graph.supervisor import NodeFailed

    try:
        yield
    except DomainError as error:
        raise Failure(ExitCode.DOMAIN_IN_USE, str(error)) from error
    except NodeFailed as error:
        raise Failure(ExitCode.FAILED, str(error)) from error
    except FileNotFoundError as error:
        raise Failure(ExitCode.LACKS_SOFTWARE, str(error)) from error
