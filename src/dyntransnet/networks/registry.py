"""Every network this package can train and serve, by name.

A new one is a factory and a line in ``NETWORKS``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import PositiveInt, ValidationError, validate_call
from torch import nn

from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ParamsError
from dyntransnet.networks.network import Architecture, DynTransNet

TINY = {
    "embed_dim": 16,
    "depths": (1, 1, 1, 1),
    "heads": (1, 2, 4, 8),
    "windows": (4, 4, None, None),
    "stem_dim": 8,
}
"""Small enough to train on a CPU within minutes."""


def dyntransnet(preset: dict[str, Any], **options: Any) -> nn.Module:
    """DynTransNet with a preset's options, some of them replaced."""
    return DynTransNet(Architecture.model_validate(preset | options))


@validate_call
def segresnet(
    *, init_filters: PositiveInt = 8, in_channels: PositiveInt = 1, classes: PositiveInt = 2
) -> nn.Module:
    """MONAI's SegResNet.

    Source:
        Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization,
        https://arxiv.org/abs/1810.11654
    """
    from monai.networks.nets import SegResNet  # slow to import

    network: nn.Module = SegResNet(
        init_filters=init_filters, in_channels=in_channels, out_channels=classes
    )
    return network


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "dyntransnet_base": partial(dyntransnet, {}),
    "dyntransnet_tiny": partial(dyntransnet, TINY),
    "segresnet": segresnet,
}


def build(spec: NetworkSpec) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        spec: its name in ``NETWORKS``, and the options that differ from its preset.

    Raises:
        ParamsError: the name is unknown, or an option is unknown or out of range.
    """
    if spec.name not in NETWORKS:
        raise ParamsError(f"network.name must be one of {', '.join(NETWORKS)}, got {spec.name!r}")
    try:
        return NETWORKS[spec.name](**spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ParamsError(
            f"network.options.{where} must fit {spec.name}: {first['msg']}, got {first['input']!r}"
        ) from error
