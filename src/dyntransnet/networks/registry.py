"""Every network this package can train and serve, by name.

A new one is a factory and a line in ``NETWORKS``. Each takes (batch, 1, x, y, z) to logits
(batch, 2, x, y, z); one that was built for deep supervision gives a list of logits in
training, the finest first.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError, validate_call
from torch import nn

from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.networks import hiformer, lightm_unet, peers, slices
from dyntransnet.networks.network import Architecture, DynTransNet

Triple = tuple[int, int, int]

TINY = {
    "embed_dim": 16,
    "depths": (1, 1, 1, 1),
    "heads": (1, 2, 4, 8),
    "windows": (4, 4, None, None),
    "stem_dim": 8,
}
"""Small enough to train on a CPU within minutes."""

GLOBAL_P4 = {
    "patch": 4,
    "embed_dim": 64,
    "depths": (2, 2, 6, 2),
    "heads": (2, 4, 8, 16),
    "windows": (None, None, None, None),
    "stem_dim": 28,
}
"""The other reading of the paper: larger patches, and attention that is global throughout.

With this stem it has 19.4 M parameters and takes 156 GMACs for 96 x 96 x 96 voxels.
"""


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a network.

    Attributes:
        factory: called as ``factory(patch_size=..., **options)``, gives fresh weights.
        multiple: what the patch's edges must be multiples of: one number for all, one for
            each axis, or a function of the options.
        origin: whose implementation this is.
        source: where the network was published.
        not_exportable: why there is no ONNX of it; empty where there is.
        is_linear: whether what it costs is a multiple of its voxels, so that a small patch
            tells it; for networks of so many steps that counting all takes minutes.
        has_one_size: whether its weights fit the patch that it was built for alone.
    """

    factory: Callable[..., nn.Module]
    multiple: int | Triple | Callable[..., int]
    origin: str
    source: str
    not_exportable: str = ""
    is_linear: bool = False
    has_one_size: bool = False


def dyntransnet(preset: dict[str, Any]) -> Entry:
    """DynTransNet with a preset's options, some of which can be replaced."""

    def architecture(**options: Any) -> Architecture:
        return Architecture.model_validate(preset | options)

    def factory(*, patch_size: Triple, **options: Any) -> nn.Module:
        return DynTransNet(architecture(**options))

    source = "https://doi.org/10.3389/fonc.2025.1569083"
    return Entry(factory, lambda **options: architecture(**options).multiple, OWN, source)


@validate_call
def stages_of_lightm(
    *, blocks_down: lightm_unet.Blocks = lightm_unet.BLOCKS_DOWN, **_others: Any
) -> int:
    """What LightM-UNet's options ask of a patch."""
    return lightm_unet.edge_multiple(blocks_down)


OWN, MONAI, SMP = "own", "MONAI", "segmentation_models_pytorch"
ARXIV = "https://arxiv.org/abs/"
HIFORMER_MULTIPLE = (hiformer.MULTIPLE, hiformer.MULTIPLE, 1)

NETWORKS = {
    "dyntransnet_base": dyntransnet({}),
    "dyntransnet_tiny": dyntransnet(TINY),
    "dyntransnet_global_p4": dyntransnet(GLOBAL_P4),
    "unetr": Entry(peers.unetr, 16, MONAI, ARXIV + "2103.10504", has_one_size=True),
    "swin_unetr": Entry(peers.swin_unetr, 32, MONAI, ARXIV + "2201.01266"),
    "segresnet": Entry(peers.segresnet, 8, MONAI, ARXIV + "1810.11654"),
    "dynunet": Entry(peers.dynunet, 16, MONAI, ARXIV + "1809.10486"),
    "vnet": Entry(peers.vnet, 16, MONAI, ARXIV + "1606.04797"),
    "vit_autoenc": Entry(peers.vit_autoenc, 16, MONAI, ARXIV + "2010.11929", has_one_size=True),
    "unet3d": Entry(peers.unet3d, 16, MONAI, "https://doi.org/10.1007/978-3-030-12029-0_40"),
    "unet_plus_plus": Entry(peers.unet_plus_plus, 16, MONAI, ARXIV + "1807.10165"),
    "attention_unet": Entry(peers.attention_unet, 16, MONAI, ARXIV + "1804.03999"),
    "mednext": Entry(peers.mednext, 16, MONAI, ARXIV + "2303.09975"),
    "deeplabv3_plus": Entry(slices.deeplabv3_plus, (16, 16, 1), SMP, ARXIV + "1802.02611"),
    "unet2d": Entry(slices.unet2d, (32, 32, 1), SMP, ARXIV + "1505.04597"),
    "hiformer": Entry(
        hiformer.hiformer, HIFORMER_MULTIPLE, OWN, ARXIV + "2207.08518", has_one_size=True
    ),
    "lightm_unet": Entry(
        lightm_unet.lightm_unet,
        stages_of_lightm,
        OWN,
        ARXIV + "2403.05246",
        # Counted: about 220 nodes for each chunk of 4,096 tokens, 1,020 chunks at 96 x 96 x 96.
        # A loop would be short, but is no plain operator. Windows of 8 x 16 x 24 gave 3,195
        # nodes, and 6e-5 of the largest logit between ONNX Runtime and torch.
        not_exportable="a scan that becomes tens of thousands of nodes",
        is_linear=True,
    ),
}


def build(spec: NetworkSpec, patch_size: Triple) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        spec: its name in ``NETWORKS``, and the options that differ from its preset.
        patch_size: of the windows that it will see, in voxels.

    Raises:
        ParamsError: the name is unknown, an option is unknown or out of range, or the
            network cannot divide the patch.
    """
    _check_divides(spec, "patch_size", patch_size)
    with _options_at_fault(spec):
        return NETWORKS[spec.name].factory(patch_size=patch_size, **spec.options)


def check_sizes(spec: NetworkSpec, patch_size: Triple, tile_size: Triple) -> None:
    """Tell before any work whether a network can learn from patches and answer for tiles.

    Raises:
        ParamsError: it cannot divide one of them, or has weights for one size alone.
    """
    _check_divides(spec, "patch_size", patch_size)
    _check_divides(spec, "tile_size", tile_size)
    if _entry(spec).has_one_size and tile_size != patch_size:
        raise ParamsError(
            f"train.tile_size: must be null for {spec.name}, whose weights fit patches of "
            f"{patch_size} alone, got {tile_size}"
        )


def multiple_of(spec: NetworkSpec) -> Triple:
    """What the patch's edges along x, y and z must be multiples of.

    Raises:
        ParamsError: the name is unknown, or an option on which this depends does not fit.
    """
    multiple = _entry(spec).multiple
    if callable(multiple):
        with _options_at_fault(spec):
            multiple = multiple(**spec.options)
    return multiple if isinstance(multiple, tuple) else (multiple, multiple, multiple)


def shown(multiples: Triple) -> str:
    """One number where all axes have the same."""
    return str(multiples[0]) if len(set(multiples)) == 1 else str(multiples)


def check_exportable(spec: NetworkSpec) -> None:
    """Tell before any work that a network cannot become an ONNX file.

    Raises:
        ModelError: it cannot, with the reason.
        ParamsError: the name is unknown.
    """
    if reason := _entry(spec).not_exportable:
        raise ModelError(f"{spec.name}: must be exportable to ONNX, got {reason}")


def _check_divides(spec: NetworkSpec, key: str, size: Triple) -> None:
    multiples = multiple_of(spec)
    if any(edge % multiple for edge, multiple in zip(size, multiples, strict=True)):
        raise ParamsError(
            f"train.{key}: must be multiples of {shown(multiples)} for {spec.name}, got {size}"
        )


def _entry(spec: NetworkSpec) -> Entry:
    if spec.name not in NETWORKS:
        raise ParamsError(f"network.name must be one of {', '.join(NETWORKS)}, got {spec.name!r}")
    return NETWORKS[spec.name]


@contextmanager
def _options_at_fault(spec: NetworkSpec) -> Iterator[None]:
    if "patch_size" in spec.options:
        raise ParamsError("network.options.patch_size must be left to train.patch_size, got one")
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ParamsError(
            f"network.options.{where} must fit {spec.name}: {first['msg']}, got {first['input']!r}"
        ) from error
    except ValueError as error:  # what MONAI raises where options do not fit together
        raise ParamsError(
            f"network.options must fit {spec.name}: {error}, got {spec.options}"
        ) from error
