"""The front door: a whole scan in, its mask and report out."""

from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from dyntransnet.service.front_door import FrontDoor


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Find the network next door."""
        self.door = FrontDoor(pb_utils, Path(args["model_repository"]).parent)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself."""
        return [self.door.respond(request) for request in requests]
