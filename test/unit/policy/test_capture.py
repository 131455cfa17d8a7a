"""Frames from a file through OpenCV, at the file's own pace."""

import time

import cv2
import numpy as np
import pytest

from safevla_ros.policy.capture import Capture, CaptureError


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for k in range(5):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = 40 * k  # red, in OpenCV's order
        writer.write(frame)
    writer.release()
    return path


def test_a_file_gives_its_frames_as_rgb_and_then_none(video):
    capture = Capture(str(video))
    frames = [capture.read() for _ in range(5)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    assert [frame[0, 0, 0] for frame in frames] == pytest.approx([0, 40, 80, 120, 160], abs=6)
    assert all(frame[0, 0, 2] < 20 for frame in frames)
    assert capture.read() is None
    assert not capture.reopen()
    capture.close()


def test_a_file_is_not_read_faster_than_it_plays(video):
    capture = Capture(str(video))
    capture.read()
    begun_s = time.monotonic()
    for _ in range(4):
        capture.read()
    assert time.monotonic() - begun_s > 0.1


@pytest.mark.parametrize("source", ["/no/such/device", "/no/such.avi"])
def test_what_cannot_be_opened_is_named(source):
    with pytest.raises(CaptureError, match=source):
        Capture(source)


def test_what_is_no_file_is_opened_again_when_it_is_back(tmp_path):
    frame = tmp_path / "frame_000.png"
    pixels = np.full((48, 64, 3), (0, 0, 200), np.uint8)
    cv2.imwrite(str(frame), pixels)
    capture = Capture(str(tmp_path / "frame_%03d.png"))  # to OpenCV a stream of one frame
    assert capture.read() is not None
    assert capture.read() is None
    frame.unlink()
    assert not capture.reopen()
    assert capture.read() is None
    cv2.imwrite(str(frame), pixels)
    assert capture.reopen()
    assert capture.read()[0, 0].tolist() == [200, 0, 0]
    capture.close()
