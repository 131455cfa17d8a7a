"""A camera that has no driver of its own: opened through OpenCV, published like any other."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.publisher import Publisher
from std_msgs.msg import Header

from safevla_ros.nodes.inference.images import image_message
from safevla_ros.policy.capture import Capture
from safevla_ros.robot.messages import set_stamp
from safevla_ros.robot.profile import Camera

REOPEN_S = 1.0
"""Pause between attempts to open a camera that has gone."""


class DeviceCamera:
    """Publishes what a device gives, from a thread of its own, until it is closed.

    Frames are stamped with ROS time when they have been read. A device that has gone is opened
    again as soon as it is back. Raises CaptureError when it cannot be opened at the start.
    """

    def __init__(self, camera: Camera, publisher: Publisher, now_ns: Callable[[], int]) -> None:
        assert camera.device is not None
        self._capture = Capture(camera.device)
        self._frame_id = camera.frame
        self._publisher = publisher
        self._now_ns = now_ns
        self.gone = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            pixels = self._capture.read()
            self.gone = pixels is None
            if pixels is None:
                if not self._capture.reopen():
                    self._closing.wait(REOPEN_S)
                continue
            header = Header(frame_id=self._frame_id)
            set_stamp(header.stamp, self._now_ns())
            self._publisher.publish(image_message(header, pixels))
        self._capture.close()

    def close(self) -> None:
        """Stop publishing and give the device back."""
        self._closing.set()
        self._thread.join()
