"""What a repository serves, in this process."""

from pathlib import Path

from dyntransnet import repository as names
from dyntransnet.contract import Contract
from dyntransnet.imaging.tiling import Predict
from dyntransnet.runtimes import choice
from dyntransnet.service.networks import read_config, runs_with
from dyntransnet.service.versions import read_traffic


def network_of(repository: Path) -> tuple[Predict, Contract]:
    """The published network, as the server runs it."""
    network = repository / names.NETWORK
    runtime, precision = runs_with(read_config(network))
    return choice.load(network / str(read_traffic(network).version), runtime, precision or "fp32")
