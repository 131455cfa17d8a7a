"""What a policy sees of a camera: the same live and from a bag, whatever the encoding, and the parts
of it that nothing may change."""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from safevla_ros.robot.pictures import Picture, Resize, Turn, policy_picture, read_image


def raw(pixels: Picture, encoding: str = "rgb8", padding: int = 0) -> Any:
    """An Image as DDS gives it."""
    height, width = pixels.shape[:2]
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, padding)))
    data = array.array("B", rows.tobytes())
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, step=rows.shape[1], data=data
    )


def compressed(pixels: Picture, kind: str = "jpeg") -> Any:
    """A CompressedImage; of quality 95 where that means something."""
    data = cv2.imencode("." + kind, pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    return SimpleNamespace(format=kind, data=array.array("B", data.tobytes()))


def structured(height: int, width: int) -> Picture:
    """Edges, thin lines, slopes and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = 128 + 100 * np.sin(x / 7) * np.sin(y / 11)
    picture = np.stack([x * 255 / width, y * 255 / height, waves], axis=-1).astype(np.uint8)
    for _ in range(60):
        begin, end = (tuple(map(int, rng.integers(0, (width, height)))) for _ in range(2))
        grey = (int(rng.integers(0, 256)),) * 3  # a JPEG has a quarter of the colours' pixels
        cv2.line(picture, begin, end, grey, int(rng.integers(1, 4)))
        cv2.circle(picture, begin, int(rng.integers(5, 50)), grey, -1)
    return cv2.add(picture, rng.integers(0, 8, picture.shape, dtype=np.uint8))


def apart(one: Picture, other: Picture) -> np.ndarray:
    return np.abs(one.astype(int) - other.astype(int))


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (1080, 1920), (481, 643)])
@pytest.mark.parametrize("wanted", [(224, 224), (80, 80), (96, 128)])
def test_raw_and_jpeg_images_give_nearly_the_same(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """A JPEG's decoder makes it smaller than a mean of pixels would, but no further from the raw
    image than the same JPEG decoded in full is."""
    picture = structured(*size)
    seen = policy_picture(raw(picture), *wanted)
    assert seen.shape == (*wanted, 3)
    by_decoder = apart(policy_picture(compressed(picture), *wanted), seen).mean()
    in_full = apart(policy_picture(raw(read_image(compressed(picture))), *wanted), seen).mean()
    assert by_decoder < 2.0  # of 255
    assert by_decoder < 1.1 * in_full + 0.1


@pytest.mark.parametrize("rotate_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_whole_factors_are_means_of_blocks(encoding: str, rotate_deg: int) -> None:
    """Written out: the middle, its 6 x 6 means, turned."""
    picture = structured(480, 640)
    means = picture[:, 80:560].reshape(80, 6, 80, 6, 3).mean(axis=(1, 3))
    coded = picture if encoding.startswith("rgb") else picture[..., ::-1]
    if encoding.endswith("a8"):
        coded = np.dstack([coded, np.full((480, 640), 9, np.uint8)])
    seen = policy_picture(raw(coded, encoding, padding=7), 80, 80, rotate_deg)
    assert apart(seen, np.rot90(np.round(means), -rotate_deg // 90)).max() <= 1


def test_grey_images_have_three_equal_colours() -> None:
    grey = structured(48, 64)[..., :1]
    for wanted in ((48, 64), (24, 32), (10, 10)):
        seen = policy_picture(raw(grey, "mono8"), *wanted)
        assert seen.shape == (*wanted, 3)
        assert (seen == seen[..., :1]).all()


def test_what_has_the_size_already_comes_through_bit_for_bit() -> None:
    """A simulator's pictures, and those that were recorded as a policy saw them."""
    picture = structured(80, 80)
    for message in (raw(picture), raw(picture[..., ::-1], "bgr8"), compressed(picture, "png")):
        assert (policy_picture(message, 80, 80) == picture).all()
        assert (read_image(message) == picture).all()
    jpeg = compressed(picture)
    assert (policy_picture(jpeg, 80, 80) == read_image(jpeg)).all()
    assert (policy_picture(raw(picture), 80, 80, 90) == np.rot90(picture, -1)).all()


def test_a_simulators_frames_are_resized_by_area_at_once() -> None:
    """As they were when the policies that ship were tried."""
    picture = structured(224, 224)
    at_once = cv2.resize(picture, (80, 80), interpolation=cv2.INTER_AREA)
    assert (policy_picture(raw(picture), 80, 80) == at_once).all()


def test_a_small_image_is_made_larger() -> None:
    seen = policy_picture(raw(np.full((10, 10, 3), 7, np.uint8)), 224, 224)
    assert (seen == 7).all()


def test_a_wide_image_is_cropped_in_the_middle_and_not_squeezed() -> None:
    source = np.zeros((48, 64, 3), np.uint8)
    source[:, :8] = 255  # outside the square in the middle
    source[:, 56:] = 255
    assert not policy_picture(raw(source), 24, 24).any()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turning_moves_a_point_as_the_intrinsics_say(degrees: int) -> None:
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


@pytest.mark.parametrize("edge", [96, 224])
def test_resizing_moves_a_point_as_the_intrinsics_say(edge: int) -> None:
    resize = Resize(480, 640, edge, edge)
    fx, fy, cx, cy = resize.intrinsics(500.0, 500.0, 319.5, 239.5)
    source = np.zeros((480, 640, 3), np.uint8)
    u, v = 400, 120  # a point at ((u - cx) / fx, ...) on the image plane
    source[v - 10 : v + 11, u - 10 : u + 11] = 255
    weight = resize.image(source)[:, :, 0].astype(float)
    rows, columns = np.mgrid[:edge, :edge]
    seen_u = (weight * columns).sum() / weight.sum()
    seen_v = (weight * rows).sum() / weight.sum()
    assert (seen_u - cx) / fx == pytest.approx((u - 319.5) / 500.0, abs=1e-3)
    assert (seen_v - cy) / fy == pytest.approx((v - 239.5) / 500.0, abs=1e-3)


@pytest.mark.parametrize(
    ("encoding", "pixel"),
    [("rgb8", (1, 2, 3)), ("bgr8", (3, 2, 1)), ("rgba8", (1, 2, 3, 9)), ("bgra8", (3, 2, 1, 9))],
)
def test_encodings_become_rgb_with_padded_rows(encoding: str, pixel: tuple[int, ...]) -> None:
    pixels = np.full((2, 2, len(pixel)), pixel, np.uint8)
    assert read_image(raw(pixels, encoding, padding=1)).tolist() == [[[1, 2, 3]] * 2] * 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoding": "32FC1"}, "encoding '32FC1': expected one of"),
        ({"data": bytes(11)}, "11 bytes in rows of 6 do not hold 2 x 2 pixels of rgb8"),
        ({"step": 5}, "12 bytes in rows of 5 do not hold 2 x 2"),
        ({"height": 0}, "do not hold 2 x 0"),
        ({"data": b""}, "it has no data"),
        ({"data": b"rubbish", "format": "jpeg"}, "7 bytes that are not a JPEG or PNG"),
        ({"data": b"\xff\xd8\xff\xc0\x00\x11\x08", "format": "jpeg"}, "not a JPEG or PNG"),
        ({"data": b"\xff\xd8\xff\xc0\x00\x11\x08" + bytes(20), "format": "jpeg"}, "not a JPEG"),
    ],
)
def test_images_that_cannot_be_read_are_refused(change: dict[str, Any], sentence: str) -> None:
    message = raw(np.zeros((2, 2, 3), np.uint8))
    message.__dict__.update(change)
    for read in (read_image, lambda message: policy_picture(message, 2, 2)):
        with pytest.raises(ValueError, match=sentence):
            read(message)
