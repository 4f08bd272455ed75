"""The network behind Triton's Python backend: windows in, logits out."""

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from dyntransnet import repository as names
from dyntransnet.runtimes import choice
from dyntransnet.service.batching import predict_together
from dyntransnet.service.versions import read_receipt


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network beside this file."""
        parameters = json.loads(args["model_config"])["parameters"]
        runtime, precision = (
            parameters[key]["string_value"] for key in (names.RUNTIME, names.PRECISION)
        )
        folder = Path(args["model_repository"]) / args["model_version"]
        read_receipt(folder)
        self.predict, self.contract = choice.load(folder, runtime, precision)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests of a batch with one call of the network."""
        parts = [
            pb_utils.get_input_tensor_by_name(request, self.contract.input_name).as_numpy()
            for request in requests
        ]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(self.contract.output_name, logits)])
            for logits in predict_together(parts, self.predict)
        ]
