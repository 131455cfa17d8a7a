"""The ROS 2 nodes and their bringup: the only place that imports rclpy or message packages.

Nodes stay thin. What they decide, compute or write is done by the ROS-free packages beside this
one, which is why those can be tested, and used for training, where no ROS is installed.

The modules here are the nodes, one process each, and what all of them share. What only some need
is in `graph` (how the graph is started and looked at), `monitor`, `inference` and `bridge`.
"""
