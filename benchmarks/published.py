"""What a repository serves, in this process."""

import re
from pathlib import Path

from dyntransnet import repository as names
from dyntransnet.contract import Contract
from dyntransnet.imaging.tiling import Predict
from dyntransnet.runtimes import choice
from dyntransnet.service.versions import read_traffic


def network_of(repository: Path) -> tuple[Predict, Contract]:
    """The published network, as the server runs it."""
    config = (repository / names.NETWORK / names.CONFIG_FILE).read_text()
    values = dict(re.findall(r'key: "(\w+)" value \{ string_value: "(\w+)"', config))
    version = read_traffic(repository / names.NETWORK).version
    folder = repository / names.NETWORK / str(version)
    return choice.load(folder, values[names.RUNTIME], values[names.PRECISION])
