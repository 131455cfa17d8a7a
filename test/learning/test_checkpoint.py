"""Checkpoints come back as they were written, and one that cannot be trusted is refused with one
sentence that says why."""

import json

import pytest
import torch
from safetensors.torch import save_file
from vla_examples import batch, model

from safevla_ros.policy.interface import PolicyError
from safevla_ros.policy.vla.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path, model(), {"steps": 12})
    return tmp_path


def edit(folder, change):
    path = folder / "vla.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def refusal(folder):
    with pytest.raises(PolicyError) as error:
        load_checkpoint(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_checkpoint_comes_back_as_it_was(folder):
    vla, loaded = model(), load_checkpoint(folder)
    assert loaded.configuration == vla.configuration
    inputs, state = batch(vla, 2, 3), vla.initial_state(2)
    torch.testing.assert_close(loaded(inputs, state).logits, vla(inputs, state).logits)
    assert json.loads((folder / "vla.json").read_text())["notes"] == {"steps": 12}


def test_weights_that_are_cut_short_are_refused(folder):
    path = folder / "vla.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in refusal(folder)


def test_weights_that_are_missing_are_refused(folder):
    (folder / "vla.safetensors").unlink()
    assert "vla.safetensors: cannot be read" in refusal(folder)


def test_weights_of_another_shape_are_refused(folder):
    edit(folder, lambda d: d["configuration"].update(memory_width=64))
    assert "expected shape" in refusal(folder)


def test_a_file_that_is_no_safetensors_is_refused(folder):
    import hashlib

    (folder / "vla.safetensors").write_bytes(b"cos\nsystem\n")
    edit(folder, lambda d: d.update(sha256=hashlib.sha256(b"cos\nsystem\n").hexdigest()))
    assert "not a usable safetensors file" in refusal(folder)


def test_weights_that_lack_a_tensor_are_refused(folder):
    import hashlib

    weights = {name: tensor.contiguous() for name, tensor in model().state_dict().items()}
    del weights["fuse.bias"]
    save_file(weights, folder / "vla.safetensors")
    data = (folder / "vla.safetensors").read_bytes()
    edit(folder, lambda d: d.update(sha256=hashlib.sha256(data).hexdigest()))
    assert "fuse.bias: expected shape (32,)" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["configuration"].pop("proprioception"), "configuration.proprioception: miss"),
        (lambda d: d["configuration"]["proprioception"][0].pop("std"), "proprioception.0.std"),
        (lambda d: d["configuration"].update(colour="red"), "configuration.colour"),
        (lambda d: d["configuration"].update(actions=["go"]), "configuration.actions"),
        (lambda d: d.update(format=99), "format: expected 2"),
        (lambda d: d.pop("sha256"), "sha256"),
    ],
)
def test_a_description_that_leaves_something_open_is_refused(folder, change, message):
    edit(folder, change)
    assert message in refusal(folder)


def test_a_description_that_is_no_json_is_refused(folder):
    (folder / "vla.json").write_text("{")
    assert "not valid JSON" in refusal(folder)
