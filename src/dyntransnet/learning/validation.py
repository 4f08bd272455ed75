"""Dice on whole volumes of the cache, while a network learns."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dyntransnet.config import TrainParams
from dyntransnet.imaging.tiling import Tiling, predict_tiled
from dyntransnet.learning.cache import CachedCase
from dyntransnet.learning.precision import autocast
from dyntransnet.learning.processes import Team
from dyntransnet.scoring.overlap import CLASSES, dice


def validate(
    network: nn.Module, cases: Sequence[CachedCase], params: TrainParams, team: Team
) -> dict[str, float]:
    """Mean Dice per class over whole volumes on the network's grid.

    Args:
        network: left in evaluation mode.
        cases: dealt out over the processes; each process gets the scores of all.
        params: patch size, overlap and precision.
        team: the processes.

    Returns:
        Classes that no case has are left out; nothing for no cases.
    """
    network.eval()
    rows = team.gathered([_score(network, case, params, team.device) for case in team.share(cases)])
    return {
        name: float(np.nanmean([row[name] for row in rows]))
        for name in CLASSES
        if not all(np.isnan(row[name]) for row in rows)
    }


def _score(
    network: nn.Module, case: CachedCase, params: TrainParams, device: torch.device
) -> dict[str, float]:
    @torch.inference_mode()
    def predict(batch: np.ndarray) -> np.ndarray:
        with autocast(device, params):
            logits: np.ndarray = network(torch.from_numpy(batch).to(device)).float().cpu().numpy()
        return logits

    tiling = Tiling(len(CLASSES), params.tile, params.overlap, case.air)
    logits = predict_tiled(case.image.astype(np.float32), predict, tiling)
    liver, tumor = logits >= 0
    masks = {"liver": liver | tumor, "tumor": tumor}
    return {name: dice(case.label >= label, masks[name]) for name, label in CLASSES.items()}
