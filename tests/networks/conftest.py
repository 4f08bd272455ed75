"""Exports are slow: each network is written once for all tests that read it."""

import pytest
from exports import export


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A function from a network's name to itself and the model folder written of it, once."""
    written = {}

    def network_and_folder(name: str):
        if name not in written:
            folder = tmp_path_factory.mktemp(name)
            written[name] = export(name, folder), folder
        return written[name]

    return network_and_folder
