"""A TensorRT plan on the GPU it was built for, with torch's memory on that GPU."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dyntransnet.contract import Contract
from dyntransnet.errors import EngineError
from dyntransnet.imaging.tiling import Predict
from dyntransnet.runtimes.plan_file import PLAN_FILE, WEIGHTS_FILE, PlanRecord
from dyntransnet.runtimes.signed import signed
from dyntransnet.runtimes.toolkits import gpu_for, listener, load_toolkit, said


def load(folder: Path) -> tuple[Predict, Contract]:
    """Open an engine folder's plan as a predictor.

    Args:
        folder: what ``build-engine`` wrote.

    Returns:
        The network, and how to feed it.

    Raises:
        EngineError: there is no plan, or it is for another model, GPU or toolkit, or the
            toolkit or torch is not installed.
        ModelError: the model or the plan is truncated or changed.
    """
    _, contract = signed(folder)
    record = PlanRecord.load(folder)
    record.check_files(folder, contract)
    toolkit = load_toolkit(record.target)
    record.check_place(folder / PLAN_FILE, toolkit.__version__, gpu_for(record.target))
    return _predictor(_engine(toolkit, folder, record), contract, record), contract


def _engine(toolkit: Any, folder: Path, record: PlanRecord) -> Any:
    log = listener(toolkit)
    runtime = toolkit.Runtime(log)
    if record.version_compatible:  # such a plan brings code of its own version along
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine((folder / PLAN_FILE).read_bytes())
    if engine is None:
        raise EngineError(
            f"{folder / PLAN_FILE}: must be readable by {record.target}, got {said(log)}"
        )
    if record.stripped:
        refitter = toolkit.Refitter(engine, log)
        parser = toolkit.OnnxParserRefitter(refitter, log)
        refitted = parser.refit_from_file(str(folder / WEIGHTS_FILE))
        if not (refitted and refitter.refit_cuda_engine()):
            raise EngineError(
                f"{folder / PLAN_FILE}: must take the weights of {WEIGHTS_FILE}, got {said(log)}"
            )
    return engine


def _predictor(engine: Any, contract: Contract, record: PlanRecord) -> Predict:
    memory = cuda()
    context = engine.create_execution_context()
    classes, given, asked = len(contract.classes), contract.input_name, contract.output_name

    def call(windows: np.ndarray) -> np.ndarray:
        shape = (len(windows), classes, *contract.patch_size)
        with memory.in_stream():  # copies to and from the GPU, too: work in one stream is in order
            image = memory.put(windows)
            logits = memory.empty(shape)
            accepted = (
                context.set_input_shape(given, tuple(image.shape))
                and context.set_tensor_address(given, image.data_ptr())
                and context.set_tensor_address(asked, logits.data_ptr())
                and context.execute_async_v3(memory.stream)
            )
            if not accepted:
                raise EngineError(
                    f"{PLAN_FILE}: must take windows of shape {windows.shape}, got refused"
                )
            found: np.ndarray = logits.cpu().numpy()
        return found

    def predict(windows: np.ndarray) -> np.ndarray:
        most = record.batch
        parts = [call(windows[first : first + most]) for first in range(0, len(windows), most)]
        return np.concatenate(parts)

    return predict


@dataclass(frozen=True)
class Memory:
    """Tensors where a plan reads and writes them, and the stream that it works in."""

    put: Callable[[np.ndarray], Any]
    empty: Callable[[tuple[int, ...]], Any]
    stream: int
    in_stream: Callable[[], AbstractContextManager[Any]]


def cuda() -> Memory:
    """The GPU's memory, by torch.

    Raises:
        EngineError: torch is not installed, or was built without CUDA.
    """
    try:
        import torch
    except ImportError as error:
        raise EngineError(f"tensorrt must have torch for memory on the GPU, got {error}") from error
    if not torch.cuda.is_available():
        raise EngineError("tensorrt must have a torch that sees a GPU, got one that sees none")
    stream = torch.cuda.Stream()
    return Memory(
        put=lambda windows: torch.from_numpy(np.ascontiguousarray(windows)).cuda(),
        empty=lambda shape: torch.empty(shape, dtype=torch.float32, device="cuda"),
        stream=stream.cuda_stream,
        in_stream=lambda: torch.cuda.stream(stream),
    )
