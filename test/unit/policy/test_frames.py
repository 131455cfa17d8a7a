"""Pairing of frames, cropping and resizing, frozen pixels, decoding."""

import array

import cv2
import numpy as np
import pytest

from safevla_ros.policy.frames import FramePairer, FreezeDetector, Resize, Turn, decode, to_rgb

MS = 1_000_000


def pairer(tolerance_ms=20):
    return FramePairer(["left", "right"], tolerance_ms * MS)


def test_frames_within_the_tolerance_become_one_set():
    pairs = pairer()
    assert pairs.add("left", 100 * MS, "l") is None
    assert pairs.add("right", 115 * MS, "r") == {"left": (100 * MS, "l"), "right": (115 * MS, "r")}


def test_frames_farther_apart_than_the_tolerance_never_pair():
    pairs = pairer()
    for k in range(20):
        assert pairs.add("left", (100 + 100 * k) * MS, "l") is None
        assert pairs.add("right", (150 + 100 * k) * MS, "r") is None


def test_a_frame_is_used_once_and_older_ones_are_dropped():
    pairs = pairer()
    pairs.add("left", 90 * MS, "old")
    pairs.add("left", 100 * MS, "l")
    assert pairs.add("right", 100 * MS, "r") is not None
    assert pairs.add("right", 101 * MS, "r2") is None
    assert pairs.add("left", 102 * MS, "l2") == {
        "left": (102 * MS, "l2"),
        "right": (101 * MS, "r2"),
    }


def test_a_late_camera_pairs_with_the_frame_of_its_own_time():
    pairs = pairer()
    for k in range(4):
        pairs.add("left", (100 + 33 * k) * MS, k)
    assert pairs.add("right", 135 * MS, "r")["left"] == (133 * MS, 1)


def test_a_frame_that_comes_after_a_newer_one_is_dropped_and_counted():
    pairs = pairer()
    pairs.add("left", 100 * MS, "l")
    assert pairs.add("left", 67 * MS, "late") is None
    assert pairs.add("left", 100 * MS, "again") is None
    assert pairs.add("right", 70 * MS, "r") is None  # 30 ms from the frame that is there
    assert pairs.add("right", 95 * MS, "r") == {"left": (100 * MS, "l"), "right": (95 * MS, "r")}
    assert pairs.add("left", 99 * MS, "late") is None  # also when the newer one was given out
    assert pairs.late == {"left": 3, "right": 0}


def test_a_camera_whose_clock_was_set_back_pairs_again():
    pairs = pairer()
    pairs.add("left", 9000 * MS, "l")
    pairs.add("right", 10 * MS, "r")
    assert pairs.add("left", 11 * MS, "l2") is not None


def test_a_single_camera_needs_no_partner():
    assert FramePairer(["only"], 0).add("only", 5, "frame") == {"only": (5, "frame")}


def test_identical_pixels_count_as_frozen_after_the_given_repeats_and_recover():
    frozen = FreezeDetector(repeats=3)
    still = array.array("B", b"\x01" * 300)
    again = array.array("B", b"\x01" * 300)
    other = array.array("B", b"\x01" * 299 + b"\x02")
    assert [frozen(p) for p in (still, again, still, again, other, still)] == [
        False, False, False, True, False, False,
    ]  # fmt: skip


def test_a_wide_image_is_cropped_in_the_middle_and_not_squeezed():
    source = np.zeros((48, 64, 3), np.uint8)
    source[:, :8] = 255  # outside the square in the middle
    source[:, 56:] = 255
    assert not Resize(48, 64, 24, 24).image(source).any()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turning_moves_a_point_as_the_intrinsics_say(degrees):
    """A marked pixel lies in the ray of the turned direction: x to the right becomes x downwards."""
    height, width = 6, 10
    fx, fy, cx, cy = 8.0, 5.0, 4.0, 3.0
    image = np.zeros((height, width, 3), np.uint8)
    row, column = 1, 7
    image[row, column] = 255
    x, y = (column - cx) / fx, (row - cy) / fy

    turn = Turn(degrees)
    turned = turn.image(image)
    assert turned.shape[:2] == turn.size(height, width)
    (turned_row,), (turned_column,) = np.nonzero(turned[..., 0])
    fx, fy, cx, cy = turn.intrinsics(fx, fy, cx, cy, height, width)
    ray = (turned_column - cx) / fx, (turned_row - cy) / fy
    assert ray == pytest.approx({0: (x, y), 90: (-y, x), 180: (-x, -y), 270: (y, -x)}[degrees])


def test_resizing_moves_a_point_as_the_intrinsics_say():
    resize = Resize(480, 640, 96, 96)
    fx, fy, cx, cy = resize.intrinsics(500.0, 500.0, 319.5, 239.5)
    source = np.zeros((480, 640, 3), np.uint8)
    u, v = 400, 120  # a point at ((u - cx) / fx, ...) on the image plane
    source[v - 10 : v + 11, u - 10 : u + 11] = 255
    weight = resize.image(source)[:, :, 0].astype(float)
    rows, columns = np.mgrid[:96, :96]
    seen_u = (weight * columns).sum() / weight.sum()
    seen_v = (weight * rows).sum() / weight.sum()
    assert (seen_u - cx) / fx == pytest.approx((u - 319.5) / 500.0, abs=1e-3)
    assert (seen_v - cy) / fy == pytest.approx((v - 239.5) / 500.0, abs=1e-3)


@pytest.mark.parametrize(
    ("encoding", "pixel"),
    [("rgb8", (1, 2, 3)), ("bgr8", (3, 2, 1)), ("rgba8", (1, 2, 3, 9)), ("bgra8", (3, 2, 1, 9))],
)
def test_encodings_become_rgb_with_padded_rows(encoding, pixel):
    row = bytes(pixel) * 2 + b"\xff"
    image = to_rgb(array.array("B", row * 2), encoding, 2, 2, len(row))
    assert image.tolist() == [[[1, 2, 3]] * 2] * 2


@pytest.mark.parametrize(
    ("encoding", "size", "message"),
    [("32FC1", 12, "encoding '32FC1': expected one of"), ("rgb8", 11, "got 11 bytes")],
)
def test_pixels_that_cannot_be_read_are_refused(encoding, size, message):
    with pytest.raises(ValueError, match=message):
        to_rgb(bytes(size), encoding, 2, 2, 6)


def test_compressed_images_are_decoded_as_rgb_and_rubbish_is_refused():
    blue = np.full((8, 8, 3), (0, 0, 255), np.uint8)
    png = cv2.imencode(".png", blue[:, :, ::-1])[1]
    assert (decode(array.array("B", png.tobytes())) == blue).all()
    with pytest.raises(ValueError, match="not a JPEG or PNG"):
        decode(b"rubbish")
