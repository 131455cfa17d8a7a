"""Small things that the gripper can take: one design per class, told apart by shape and colour.

Each stands upright on its support, is at most 0.13 m wide where the fingers close, and about 0.15 m
large, so that it still covers several pixels from across a room.
"""

from __future__ import annotations

from collections.abc import Callable

from safevla_ros.simulation.parts import Design, Part, Rgb, box, cylinder, sphere

WHITE: Rgb = (0.93, 0.92, 0.89)
DARK: Rgb = (0.13, 0.12, 0.12)


def _apple() -> Design:
    red, stem = (0.78, 0.08, 0.07), (0.33, 0.20, 0.09)
    return Design(
        "apple",
        (
            sphere(0.06, (0.0, 0.0, 0.06), red),
            # A foot keeps it from rolling.
            cylinder(0.035, 0.012, (0.0, 0.0, 0.0), red),
            cylinder(0.006, 0.03, (0.0, 0.0, 0.115), stem, solid=False),
        ),
        mass=0.25,
        grasp_height=0.06,
    )


def _mug() -> Design:
    blue = (0.10, 0.25, 0.72)
    handle: tuple[Part, ...] = (
        box((0.03, 0.014, 0.016), (0.058, 0.0, 0.095), blue, solid=False),
        box((0.03, 0.014, 0.016), (0.058, 0.0, 0.035), blue, solid=False),
        box((0.014, 0.014, 0.076), (0.073, 0.0, 0.035), blue, solid=False),
    )
    return Design(
        "mug",
        (
            cylinder(0.05, 0.13, (0.0, 0.0, 0.0), blue),
            cylinder(0.043, 0.002, (0.0, 0.0, 0.13), DARK, solid=False),
            *handle,
        ),
        mass=0.3,
        grasp_height=0.075,
    )


def _cereal_box() -> Design:
    return Design(
        "cereal_box",
        (
            box((0.075, 0.12, 0.19), (0.0, 0.0, 0.0), (0.95, 0.76, 0.10)),
            box((0.077, 0.122, 0.045), (0.0, 0.0, 0.11), (0.88, 0.38, 0.08), solid=False),
        ),
        mass=0.3,
        grasp_height=0.09,
    )


def _bottle() -> Design:
    green = (0.08, 0.50, 0.22)
    return Design(
        "bottle",
        (
            cylinder(0.042, 0.16, (0.0, 0.0, 0.0), green),
            sphere(0.041, (0.0, 0.0, 0.16), green, solid=False),
            cylinder(0.016, 0.065, (0.0, 0.0, 0.185), green),
            cylinder(0.018, 0.02, (0.0, 0.0, 0.245), WHITE, solid=False),
            cylinder(0.043, 0.06, (0.0, 0.0, 0.05), WHITE, solid=False),
        ),
        mass=0.4,
        grasp_height=0.08,
    )


def _ball() -> Design:
    purple = (0.50, 0.14, 0.62)
    return Design(
        "ball",
        (
            sphere(0.065, (0.0, 0.0, 0.068), purple, "stripes"),
            cylinder(0.035, 0.014, (0.0, 0.0, 0.0), purple),
        ),
        mass=0.2,
        grasp_height=0.068,
    )


def _bowl() -> Design:
    turquoise = (0.10, 0.66, 0.66)
    return Design(
        "bowl",
        (
            cylinder(0.045, 0.03, (0.0, 0.0, 0.0), turquoise),
            cylinder(0.065, 0.07, (0.0, 0.0, 0.03), turquoise),
            cylinder(0.058, 0.002, (0.0, 0.0, 0.10), (0.85, 0.95, 0.93), solid=False),
        ),
        mass=0.35,
        grasp_height=0.065,
    )


def _can() -> Design:
    orange, tin = (0.95, 0.42, 0.05), (0.78, 0.79, 0.80)
    return Design(
        "can",
        (
            cylinder(0.04, 0.14, (0.0, 0.0, 0.0), orange),
            cylinder(0.038, 0.008, (0.0, 0.0, 0.14), tin, solid=False),
            cylinder(0.041, 0.012, (0.0, 0.0, 0.0), tin, solid=False),
        ),
        mass=0.35,
        grasp_height=0.075,
    )


def _plush() -> Design:
    brown, light = (0.45, 0.27, 0.13), (0.72, 0.53, 0.34)
    return Design(
        "plush",
        (
            box((0.09, 0.10, 0.06), (0.0, 0.0, 0.0), brown),
            sphere(0.06, (0.0, 0.0, 0.065), brown),
            sphere(0.045, (0.0, 0.0, 0.145), brown),
            sphere(0.018, (0.035, 0.0, 0.14), light, solid=False),
            sphere(0.018, (0.0, 0.035, 0.18), light, solid=False),
            sphere(0.018, (0.0, -0.035, 0.18), light, solid=False),
        ),
        mass=0.2,
        grasp_height=0.075,
    )


def _vase() -> Design:
    pink = (0.90, 0.42, 0.58)
    return Design(
        "vase",
        (
            cylinder(0.045, 0.02, (0.0, 0.0, 0.0), pink),
            sphere(0.058, (0.0, 0.0, 0.06), pink),
            cylinder(0.025, 0.09, (0.0, 0.0, 0.10), pink),
            cylinder(0.036, 0.012, (0.0, 0.0, 0.185), pink, solid=False),
        ),
        mass=0.35,
        grasp_height=0.065,
    )


def _cactus() -> Design:
    clay, green = (0.70, 0.34, 0.20), (0.24, 0.55, 0.20)
    return Design(
        "cactus",
        (
            cylinder(0.05, 0.09, (0.0, 0.0, 0.0), clay),
            Part("capsule", (0.034, 0.045, 0.0), (0.0, 0.0, 0.15), green, "stripes"),
        ),
        mass=0.4,
        grasp_height=0.06,
    )


GOODS: dict[str, Callable[[], Design]] = {
    "apple": _apple,
    "mug": _mug,
    "cereal_box": _cereal_box,
    "bottle": _bottle,
    "ball": _ball,
    "bowl": _bowl,
    "can": _can,
    "plush": _plush,
    "vase": _vase,
    "cactus": _cactus,
}

DESCRIPTIONS: dict[str, str] = {
    "apple": "red apple",
    "mug": "blue mug",
    "cereal_box": "yellow cereal box",
    "bottle": "green bottle",
    "ball": "purple ball",
    "bowl": "turquoise bowl",
    "can": "orange can",
    "plush": "brown plush bear",
    "vase": "pink vase",
    "cactus": "potted cactus",
}
"""How an instruction names each class."""
