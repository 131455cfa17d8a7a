"""A simulated robot doing a task: `ros2 launch safevla_ros sim.launch.py`.

All arguments of bringup.launch.py apply. `run:=false` brings the graph up and leaves the goal to
you: action `run_policy`, service `reset_scenario`. A run that could not be carried through ends the
launch with an exit code that is not zero.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The bringup, and somebody who asks for the scenario's task once and then ends it all."""
    bringup = str(Path(__file__).with_name("bringup.launch.py"))
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "run", default_value="true", description="Do the scenario's task once, then stop"
            ),
            DeclareLaunchArgument(
                "scenario",
                default_value="default",
                description="A name under sim/scenarios, or a path to a .yaml file",
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of all relative names"
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(bringup), launch_arguments={"robot": "sim"}.items()
            ),
            Node(
                package="safevla_ros",
                executable="run_scenario",
                namespace=LaunchConfiguration("namespace"),
                output="screen",
                condition=IfCondition(LaunchConfiguration("run")),
                on_exit=_end,
            ),
        ]
    )


def _end(event: ProcessExited, context: LaunchContext) -> EmitEvent | None:
    """The run is over, and with it all else."""
    if context.is_shutdown:
        return None
    if event.returncode:
        # An exception ends a launch with exit code 1, an event with 0.
        raise RuntimeError("the run could not be carried through; run_scenario says why above")
    return EmitEvent(event=Shutdown(reason="the run is over"))
