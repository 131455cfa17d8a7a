"""A robot that is made of topics only, good or with a fault in each: for the check of a live graph.

fake_robot.py good|faulty
"""

import signal
import sys

import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState, LaserScan
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

PERIOD_S = 0.05


def main() -> None:
    faulty = sys.argv[1] == "faulty"
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    told = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    node = rclpy.create_node("faulty_robot" if faulty else "good_robot")
    reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    publishers = [
        (node.create_publisher(JointState, "joint_states", reliable), JointState),
        (node.create_publisher(Image, "camera/image", reliable), Image),
    ]
    if faulty:
        publishers += [
            (node.create_publisher(TwistStamped, "odom", reliable), TwistStamped),
            (node.create_publisher(LaserScan, "scan", qos_profile_sensor_data), LaserScan),
        ]
        node.create_publisher(Bool, "estop", reliable)  # and says nothing
        node.create_publisher(Twist, "cmd_vel", reliable)  # which is the monitor's
        node.create_service(SetBool, "stop", lambda request, response: response)
    else:
        publishers += [
            (node.create_publisher(Odometry, "odom", reliable), Odometry),
            (node.create_publisher(LaserScan, "scan", reliable), LaserScan),
            (node.create_publisher(Bool, "estop", reliable), Bool),
        ]
        node.create_service(Trigger, "stop", lambda request, response: response)
        node.create_subscription(Twist, "cmd_vel", lambda message: None, 10)

    def publish() -> None:
        for publisher, kind in publishers:
            message = kind()
            # The faulty robot's joint states are old when they are sent.
            if hasattr(message, "header") and not (faulty and kind is JointState):
                message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)

    node.create_timer(PERIOD_S, publish)
    print("ready", flush=True)
    while not told:
        rclpy.spin_once(node, timeout_sec=PERIOD_S)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
