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


def slow_graph(edge=1500):
    """As `graph`, but a step takes a matrix product of that edge: tenths of a second, which changes
    nothing."""
    model = onnx.load_from_string(graph())
    inner = model.graph
    inner.node[-1].output[0] = "quick"
    inner.initializer.extend(
        [
            numpy_helper.from_array(np.array([edge, edge], np.int64), "shape"),
            numpy_helper.from_array(np.zeros(1, np.float32), "nothing"),
        ]
    )
    inner.node.extend(
        [
            helper.make_node("ReduceSum", ["state"], ["sum"], keepdims=0),
            helper.make_node("Expand", ["sum", "shape"], ["square"]),
            helper.make_node("MatMul", ["square", "square"], ["product"]),
            helper.make_node("ReduceMean", ["product"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "nothing"], ["none"]),
            helper.make_node("Add", ["quick", "none"], ["logits"]),
        ]
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


CHUNK_STEPS = 12


def chunk_graph(size=SIZE, image="image_navigation"):
    """Rows of base velocities: x is 0.01 m/s times the row's number, yaw is 0. The image only has
    to be there."""
    rows = np.zeros((1, CHUNK_STEPS, 2), np.float32)
    rows[0, :, 0] = np.arange(CHUNK_STEPS)
    constants = [
        numpy_helper.from_array(rows, "rows"),
        numpy_helper.from_array(np.zeros(1, np.float32), "nothing"),
    ]
    nodes = [
        helper.make_node("Cast", [image], ["float_image"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float_image"], ["mean"], keepdims=0),
        helper.make_node("ReduceSum", ["state"], ["sum"], keepdims=0),
        helper.make_node("Add", ["mean", "sum"], ["seen"]),
        helper.make_node("Mul", ["seen", "nothing"], ["zero"]),
        helper.make_node("Add", ["rows", "zero"], ["chunk"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny_chunk",
            [
                helper.make_tensor_value_info(image, TensorProto.UINT8, [1, size, size, 3]),
                helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, len(COLUMNS)]),
            ],
            [helper.make_tensor_value_info("chunk", TensorProto.FLOAT, [1, CHUNK_STEPS, 2])],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_chunk(folder, size=SIZE, **changes):
    """A folder with a policy of continuous chunks, half a second a step."""
    columns = [
        {"name": "base.x", "mean": 0.0, "std": 0.01},
        {"name": "base.yaw", "mean": 0.0, "std": 1.0},
    ]
    continuous = {
        "id": "tiny-chunk",
        "representation": "continuous",
        "image_height": size,
        "image_width": size,
        "inputs": {"images": {"navigation": "image_navigation"}, "proprioception": "state"},
        "output": "chunk",
        "step_s": 0.5,
        "columns": columns,
    }
    drop = {"actions", "selection"} - set(changes)
    return write(folder, chunk_graph(size), tuple(drop), **(continuous | changes))


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
