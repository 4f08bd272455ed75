"""TensorRT, TensorRT for RTX and the GPU of this machine; each is looked for when asked for."""

import importlib
import os
import subprocess
from types import ModuleType
from typing import Any

from dyntransnet.errors import EngineError
from dyntransnet.runtimes.plan_file import Gpu, Target

MODULES: dict[Target, tuple[str, str]] = {
    "tensorrt": ("tensorrt", "pip install 'tensorrt-cu12>=10,<12' with NVIDIA's index, or use "
                 "NVIDIA's TensorRT or Triton container"),
    "tensorrt-rtx": ("tensorrt_rtx_bindings", "pip install 'dyntransnet[tensorrt-rtx]'"),
}  # fmt: skip
"""Target to Python module, and where to get it."""

OLDEST_TENSORRT = 10
QUERIED = ("name", "compute_cap", "driver_version")


def load_toolkit(target: Target) -> Any:
    """The Python module of a toolkit.

    Raises:
        EngineError: it is not installed here, or too old.
    """
    name, advice = MODULES[target]
    try:
        toolkit: ModuleType = importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a library that it loads is not there
        said = " ".join(str(error).split())
        raise EngineError(f"{target} must be installed ({advice}), got {said}") from error
    version = toolkit.__version__
    if target == "tensorrt" and int(version.split(".")[0]) < OLDEST_TENSORRT:
        raise EngineError(f"tensorrt must be of version {OLDEST_TENSORRT} or later, got {version}")
    return toolkit


def find_gpu() -> Gpu | None:
    """The GPU that CUDA would take first, as ``nvidia-smi`` shows it; None without one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "":
        return None
    chosen = [f"--id={visible.split(',')[0]}"] if visible else []
    try:
        shown = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(QUERIED)}", "--format=csv,noheader", *chosen],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    first = shown.stdout.strip().partition("\n")[0].split(", ")
    if len(first) != len(QUERIED):
        return None
    name, capability, driver = first
    return Gpu(name=name, compute_capability=int(capability.replace(".", "")), driver=driver)


def gpu_for(target: Target) -> Gpu:
    """The GPU of this machine.

    Raises:
        EngineError: there is none.
    """
    gpu = find_gpu()
    if gpu is None:
        raise EngineError(
            f"{target}: must be run on a machine with an NVIDIA GPU and its driver, got none "
            f"that nvidia-smi shows"
        )
    return gpu


def listener(toolkit: Any) -> Any:
    """A logger for a toolkit that keeps its errors, as ``lines``, and prints nothing."""

    class Listener(toolkit.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= toolkit.ILogger.Severity.ERROR:
                self.lines.append(" ".join(message.split()))

    return Listener()


def said(log: Any) -> str:
    """What a ``listener`` heard first, as the end of a message."""
    return log.lines[0][:300] if log.lines else "no reason"
