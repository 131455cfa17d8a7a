"""What happened, judged: figures with intervals, and reports a person can look at.

Everything here reads bags, so it serves a simulated run and a robot's recording alike. No ROS is
imported.
"""
