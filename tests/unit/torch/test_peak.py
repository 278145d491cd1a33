"""Peak memory: the model, and a few MiB. Measured in processes of one step each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import environment

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = [
    pytest.mark.slow,  # a process for each step, and each imports torch
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="needs /proc, to measure memory"
    ),
]

MIB = 2**20
LAYERS, WIDTH = 8, 2048  # of 16 MiB each
MODEL = LAYERS * WIDTH * WIDTH * 4
#: So that a copy of a shard would be seen.
SHARD = 100 * MIB
ALLOWED = 64 * MIB

SCRIPT = f"""
import sys
import torch
from shardctl.torch import load_sharded_checkpoint, open as open_state, save_sharded

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

def net(dtype=torch.float32, device="cpu"):
    layers = [torch.nn.Linear({WIDTH}, {WIDTH}, bias=False, dtype=dtype, device="meta")
              for _ in range({LAYERS})]
    model = torch.nn.Sequential(*layers)
    if device != "meta":
        model.to_empty(device=device)
        for parameter in model.parameters():
            parameter.data.fill_(1.5)  # so that its memory is there
    return model

def measured(work, *arguments, **named):
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # from here on VmHWM counts (proc(5))
    work(*arguments, **named)
    print(status("VmHWM") - before)

step, directory, name = sys.argv[1:]
if step == "save":
    measured(save_sharded, net(), directory, max_shard_size={SHARD}, format=name)
elif step == "save strided":
    state = {{key: each.t() for key, each in net().state_dict().items()}}
    measured(save_sharded, state, directory, max_shard_size={SHARD}, format=name, replace="same")
elif step == "load":
    measured(load_sharded_checkpoint, net(), directory)
elif step == "convert":
    measured(load_sharded_checkpoint, net(torch.bfloat16), directory)
elif step == "strided":
    model = net()
    for layer in model:
        layer.weight.data = layer.weight.data.t().contiguous().t()
    measured(load_sharded_checkpoint, model, directory)
elif step == "assign":
    measured(load_sharded_checkpoint, net(device="meta"), directory, assign=True)
elif step == "slice":
    measured(lambda: open_state(directory).get_slice("0.weight")[:4])
"""


STEPS = {
    "safetensors": ("save", "load", "convert", "strided", "slice", "save strided"),
    "bin": ("save", "load"),
}


@pytest.mark.parametrize("name", STEPS)
def test_memory_is_the_model_and_a_buffer(name: str, tmp_path: Path) -> None:
    """No step holds a second copy of the model, or of a shard."""

    def peak(step: str) -> int:
        command = [sys.executable, "-c", SCRIPT, step, str(tmp_path / "model"), name]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment(), cwd=tmp_path
        )
        return int(done.stdout)

    in_place = {step: peak(step) for step in STEPS[name]}
    assert max(in_place.values()) < ALLOWED, in_place
    # The parameters themselves are new here.
    assert peak("assign") < MODEL + ALLOWED
