"""The front door: a whole scan in, its mask and report out."""

import json
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from dyntransnet import repository as names
from dyntransnet.contract import Contract
from dyntransnet.errors import DynTransNetError, ScanError, ServingError
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import Scan


class GoneError(Exception):
    """The client no longer waits for the answer."""


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the contract of the network next door."""
        repository = Path(args["model_repository"]).parent
        self.contract = Contract.load(repository / names.NETWORK / names.VERSION)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        try:
            return pb_utils.InferenceResponse(output_tensors=self._answer(request))
        except GoneError:
            return _refusal("cancelled by the client", pb_utils.TritonError.CANCELLED)
        except ScanError as error:
            return _refusal(str(error), pb_utils.TritonError.INVALID_ARG)
        except DynTransNetError as error:
            pb_utils.Logger.log_error(str(error))
            return _refusal(str(error), pb_utils.TritonError.INTERNAL)
        except Exception:  # noqa: BLE001  # the server outlives a bug; the log has its traceback
            pb_utils.Logger.log_error(traceback.format_exc())
            return _refusal("internal error, see the server's log", pb_utils.TritonError.INTERNAL)

    def _answer(self, request: Any) -> list[Any]:
        scan, preset = _scan_of(request), _preset_of(request)
        model = tuned(preset, lambda windows: self._predict(windows, request), self.contract)
        found = answer(scan, *model)
        report = json.dumps(found.report).encode()
        return [
            pb_utils.Tensor(names.MASK, np.ascontiguousarray(found.mask.labels)),
            pb_utils.Tensor(names.REPORT, np.array([report], np.object_)),
        ]

    def _predict(self, windows: np.ndarray, request: Any) -> np.ndarray:
        if request.is_cancelled():
            raise GoneError
        call = pb_utils.InferenceRequest(
            model_name=names.NETWORK,
            requested_output_names=[self.contract.output_name],
            inputs=[pb_utils.Tensor(self.contract.input_name, windows)],
            # A network on a GPU would otherwise leave its answer there.
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        )
        response = call.exec()
        if response.has_error():
            cause = response.error().message().splitlines()[0]
            raise ServingError(f"model {names.NETWORK} must answer, got {cause}")
        return pb_utils.get_output_tensor_by_name(response, self.contract.output_name).as_numpy()


def _refusal(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def _preset_of(request: Any) -> Preset:
    """How the caller wants its scan seen."""
    asked = pb_utils.get_input_tensor_by_name(request, names.PRESET)
    name = Preset.STANDARD if asked is None else asked.as_numpy()[0].decode()
    if name not in [*Preset]:
        raise ScanError(f"{names.PRESET}: must be one of {', '.join(Preset)}, got {name}")
    return Preset(name)


def _scan_of(request: Any) -> Scan:
    """The scan a request holds."""
    case, affine, whole, real = (
        None if tensor is None else tensor.as_numpy()
        for name in (names.CASE, names.AFFINE, names.VOXELS, names.VOXELS_FLOAT)
        for tensor in [pb_utils.get_input_tensor_by_name(request, name)]
    )
    name = "scan" if case is None else case[0].decode()
    if (whole is None) == (real is None):
        found = "none" if whole is None else "both"
        raise ScanError(
            f"{name}: one of {names.VOXELS} and {names.VOXELS_FLOAT} must be given, got {found}"
        )
    return Scan(name, real if whole is None else whole, affine)
