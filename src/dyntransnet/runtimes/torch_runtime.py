"""torch itself, from a checkpoint: the reference every exported model is held to."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from dyntransnet.contract import Contract
from dyntransnet.errors import ModelError
from dyntransnet.imaging.tiling import Predict
from dyntransnet.learning.checkpoint import load_weights
from dyntransnet.networks.registry import build


def load(folder: Path) -> tuple[Predict, Contract]:
    """Load a checkpoint as a predictor in fp32, on CUDA where there is one.

    Raises:
        ModelError: the folder is incomplete or damaged.
    """
    contract = Contract.load(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return predictor(load_network(folder, contract).to(device)), contract


def load_network(folder: Path, contract: Contract) -> nn.Module:
    """Build the contract's network and give it the checkpoint's weights.

    Raises:
        ModelError: the folder is incomplete or damaged, or its weights are another network's.
    """
    network, weights = build(contract.network, contract.patch_size), load_weights(folder, contract)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        found = " ".join(str(error).split())
        raise ModelError(
            f"{folder}: weights must fit {contract.network.name}, got {found}"
        ) from error
    return network.eval()


def predictor(network: nn.Module) -> Predict:
    """A network as a callable on arrays; it is put into evaluation mode by the caller."""
    device = next(network.parameters()).device

    @torch.inference_mode()
    def predict(windows: np.ndarray) -> np.ndarray:
        logits: np.ndarray = network(torch.from_numpy(windows).to(device)).float().cpu().numpy()
        return logits

    return predict
