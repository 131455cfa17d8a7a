"""Bags: what the graph said, recorded as it came and read back.

A bag is a rosbag2 folder: one MCAP file and metadata.yaml. `writer` records, `reader` reads (also a
file that was cut off), `repair` finishes a cut file, `metadata` holds what rosbag2 wants to know
about a bag and the keys under which we keep its provenance, `definitions` finds message
definitions. Messages are bytes as they came from the wire; no ROS is imported.
"""
