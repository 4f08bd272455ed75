"""Models that are swapped, and the repository that they go to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dyntransnet import repository as names
from dyntransnet.config import PublishParams
from dyntransnet.runtimes import golden
from dyntransnet.stages.publish import write_network
from models import copy_repository, save_model, threshold_model

KEY = "a-key-of-the-tests"
PARAMS = PublishParams(backend="python", runtime="onnxruntime", precision="fp32")
COARSE = (6.0, 6.0, 6.0)
"""Few windows for a scan."""


@contextmanager
def small_golden_scan() -> Iterator[None]:
    """The phantom in few voxels."""
    known = golden.RECIPE
    few = {"spacing_mm": (10.0, 10.0, 12.0), "shape": (39, 34, 20)}
    golden.RECIPE = known.model_copy(update=few)
    try:
        yield
    finally:
        golden.RECIPE = known


def save_coarse(folder: Path, low: float) -> Path:
    """A model whose masks differ from those of another ``low``."""
    save_model(folder, threshold_model(low, 0.72), spacing_mm=COARSE)
    return folder


def plain_repository(root: Path) -> Path:
    """As a first publish leaves it; its model lies beside it."""
    copy_repository(root)
    first = save_coarse(root.parent / "first", 0.18)
    write_network(first, root / names.NETWORK, PARAMS, {})
    return root
