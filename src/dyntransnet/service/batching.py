"""Windows of several callers in one call of the network."""

from collections.abc import Sequence

import numpy as np

from dyntransnet.imaging.tiling import Predict


def predict_together(parts: Sequence[np.ndarray], predict: Predict) -> list[np.ndarray]:
    """Logits for each of several batches, from one call.

    Args:
        parts: windows (n, 1, x, y, z), n of its own for each caller.
        predict: the network.

    Returns:
        Each caller's logits, in order.
    """
    if len(parts) == 1:
        return [predict(parts[0])]
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return np.split(predict(np.concatenate(parts)), ends)
