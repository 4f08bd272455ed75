"""A machine with a GPU, as far as can be without one."""

import sys
from contextlib import nullcontext

import pytest
import torch
from fake_tensorrt import L4, VERSIONS, fake_tensorrt

from dyntransnet.runtimes import tensorrt_runtime


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A function that makes ``nvidia-smi`` answer with a line, or be missing."""

    def answer(line: str | None) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        program.unlink(missing_ok=True)
        if line is not None:
            program.write_text(f"#!/bin/sh\necho '{line}'\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin" if line else str(folder))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    answer(f"{L4.name}, 8.9, {L4.driver}")
    return answer


@pytest.fixture(params=VERSIONS)
def tensorrt(request, nvidia_smi, monkeypatch):
    """TensorRT 10 and 11 on a GPU; memory is the CPU's."""
    toolkit = fake_tensorrt(request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", toolkit)
    memory = tensorrt_runtime.Memory(torch.from_numpy, torch.empty, 7, nullcontext)
    monkeypatch.setattr(tensorrt_runtime, "cuda", lambda: memory)
    return toolkit
