"""Pictures as a policy takes them: the same as by the plain way, whatever the encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from safevla_ros.bags.own_messages import new_message
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.tensors import read_tensors, to_tensor

SMOOTH = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8), (640, 480)
)


def plain(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
@pytest.mark.parametrize("padding", [0, 7])
def test_raw_images_are_resized_by_area_and_turned_to_rgb(encoding: str, padding: int) -> None:
    pixels = SMOOTH if encoding == "rgb8" else SMOOTH[..., ::-1]
    rows = np.zeros((480, 3 * 640 + padding), np.uint8)
    rows[:, : 3 * 640] = pixels.reshape(480, -1)
    message = new_message("sensor_msgs/msg/Image", height=480, width=640, encoding=encoding)
    message.step, message.data = rows.shape[1], rows.reshape(-1)
    tensor = to_tensor(message, 224, 200)
    assert tensor.shape == (3, 224, 200)
    assert tensor.dtype == np.uint8
    assert np.abs(tensor.astype(int) - plain(SMOOTH, 224, 200)).max() <= 1


def test_an_image_whose_rows_do_not_hold_its_pixels_is_refused() -> None:
    message = new_message("sensor_msgs/msg/Image", height=4, width=9, encoding="rgb8", step=24)
    message.data = np.zeros(96, np.uint8)
    for message.encoding in ("rgb8", "bgr8"):
        with pytest.raises(ValueError, match="rows of 24 bytes do not hold 9 pixels"):
            to_tensor(message, 2, 2)


@pytest.mark.parametrize("size", [(224, 224), (100, 150), (480, 640), (600, 800)])
def test_a_jpeg_that_was_decoded_small_is_near_one_that_was_not(size: tuple[int, int]) -> None:
    data = cv2.imencode(".jpg", SMOOTH[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    message = new_message("sensor_msgs/msg/CompressedImage", format="jpeg", data=data.reshape(-1))
    tensor = to_tensor(message, *size)
    assert tensor.shape == (3, *size)
    assert np.abs(tensor.astype(int) - plain(SMOOTH, *size)).mean() < 2.0


def test_a_png_is_read_too() -> None:
    data = cv2.imencode(".png", SMOOTH[..., ::-1])[1]
    message = new_message("sensor_msgs/msg/CompressedImage", format="png", data=data.reshape(-1))
    assert np.abs(to_tensor(message, 60, 80).astype(int) - plain(SMOOTH, 60, 80)).max() <= 1


def test_images_that_cannot_be_read_are_left_out_and_named(make_bag: Callable[..., Any]) -> None:
    bag = make_bag()
    bag.image(1.0, "navigation", (10, 20, 30))
    bag.image(1.1, "navigation", (0, 0, 0), data=np.empty(0, np.uint8))
    bag.image(1.2, "navigation", (0, 0, 0), encoding="32FC1")
    bag.image(1.3, "navigation", (40, 50, 60))
    read = Bag(bag.finish())
    found = [
        tensor[:, 0, 0].tolist() for _, tensor in read_tensors(read, "/camera/navigation", 8, 8)
    ]
    assert found == [[10, 20, 30], [40, 50, 60]]
    assert any("an image was left out: it has no data" in sentence for sentence in read.damage)
    assert any("32FC1" in sentence for sentence in read.damage)
