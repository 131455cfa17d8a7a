"""A policy folder with a tiny real ONNX graph, made on the spot."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from safevla_ros.robot.action_codec import ACTIONS

SIZE = 8
STEPS = 2
COLUMNS = [
    {"name": "odometry.x", "mean": 0.0, "std": 1.0},
    {"name": "odometry.cos_yaw", "mean": 0.0, "std": 1.0},
    {"name": "joint.lift", "mean": 0.5, "std": 0.25},
    {"name": "object_in_hand", "mean": 0.0, "std": 1.0},
]


def graph(action_count=20, size=SIZE, image_type=TensorProto.UINT8, image="image_navigation"):
    """Logits of step s and action a: the a-th of [red, x, cos, lift, hand, previous token, 0...],
    plus s for action 6. Small, but every input matters."""
    image_shape = [1, size, size, 3]
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "space"),
        numpy_helper.from_array(np.zeros((1, action_count - 6), np.float32), "rest"),
        numpy_helper.from_array(
            np.array(
                [[[float(s) * (a == 6) for a in range(action_count)] for s in range(STEPS)]],
                np.float32,
            ),
            "ramp",
        ),
    ]
    nodes = [
        helper.make_node("Cast", [image], ["float_image"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float_image", "space"], ["colour"], keepdims=0),
        helper.make_node("Slice", ["colour", "zero", "one", "one"], ["red"]),
        helper.make_node("Cast", ["previous_token"], ["float_previous"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["float_previous", "zero"], ["previous"]),
        helper.make_node("Concat", ["red", "state", "previous", "rest"], ["row"], axis=1),
        helper.make_node("Unsqueeze", ["row", "one"], ["rows"]),
        helper.make_node("Add", ["rows", "ramp"], ["logits"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [
                helper.make_tensor_value_info(image, image_type, image_shape),
                helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, len(COLUMNS)]),
                helper.make_tensor_value_info("previous_token", TensorProto.INT64, [1]),
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, STEPS, action_count])],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write(folder, data=None, drop=(), **changes):
    """A policy folder; `changes` and `drop` alter policy.yaml. Returns its path as text."""
    data = graph() if data is None else data
    (folder / "policy.onnx").write_bytes(data)
    description = {
        "id": "tiny",
        "file": "policy.onnx",
        "sha256": hashlib.sha256(data).hexdigest(),
        "representation": "token",
        "image_height": SIZE,
        "image_width": SIZE,
        "inputs": {
            "images": {"navigation": "image_navigation"},
            "proprioception": "state",
            "previous_token": "previous_token",
        },
        "output": "logits",
        "actions": list(ACTIONS),
        "proprioception": COLUMNS,
        "selection": "argmax",
    } | changes
    for key in drop:
        del description[key]
    (folder / "policy.yaml").write_text(yaml.safe_dump(description))
    return str(folder)
