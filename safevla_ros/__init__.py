"""Runs a vision-language-action policy on a robot behind a monitor of explicit safety costs.

Importing this package loads neither ROS nor a learning framework. Only `safevla_ros.nodes`
imports rclpy and the generated messages (`safevla_ros.msg`, `.srv`, `.action`); everything else
also runs where no ROS is installed.
"""

from pkgutil import extend_path

# Python started in a checkout finds the sources there and the generated messages, which a checkout
# does not hold, in the installed package.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
