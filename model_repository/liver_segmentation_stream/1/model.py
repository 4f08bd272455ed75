"""The front door for clients that want to see progress before the answer."""

from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from dyntransnet.service.front_door import FrontDoor


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Find the network next door."""
        self.door = FrontDoor(pb_utils, Path(args["model_repository"]).parent)

    def execute(self, requests: list[Any]) -> None:
        """Send windows done and of how many, then mask and report."""
        for request in requests:
            sender = request.get_response_sender()
            answer = self.door.respond(
                request, lambda tensors, to=sender: to.send(pb_utils.InferenceResponse(tensors))
            )
            sender.send(answer, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
