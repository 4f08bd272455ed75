"""Every network at a size and a patch at which a test takes a second, all edges unlike."""

from typing import Any

import torch

from dyntransnet.contract import NetworkSpec
from dyntransnet.networks.registry import multiple_of

DYNTRANSNET = {"embed_dim": 8, "depths": [1, 1, 1, 1], "heads": [1, 2, 4, 8], "stem_dim": 4}
SLICES = {"encoder": "mobilenet_v2"}

SMALL: dict[str, dict[str, Any]] = {
    "dyntransnet_base": DYNTRANSNET,
    "dyntransnet_tiny": DYNTRANSNET,
    "dyntransnet_global_p4": DYNTRANSNET,
    "unetr": {"feature_size": 4, "hidden_size": 24, "mlp_dim": 48, "heads": 2},
    "swin_unetr": {"feature_size": 12, "depths": [2, 1, 1, 1]},
    "segresnet": {"init_filters": 8},
    "dynunet": {"filters": 4},
    "vnet": {},
    "vit_autoenc": {"hidden_size": 24, "mlp_dim": 48, "layers": 2, "heads": 2},
    "unet3d": {"filters": 4},
    "unet_plus_plus": {"filters": 4},
    "attention_unet": {"filters": 4},
    "mednext": {"init_filters": 4},
    "deeplabv3_plus": SLICES,
    "unet2d": SLICES,
    "hiformer": {
        "cnn_dim": 8,
        "cnn_depths": [1, 1, 1],
        "embed_dim": 24,
        "depths": [2, 1, 2],
        "heads": [1, 2, 4],
        "window": 3,
        "fusion_depths": [1, 1],
        "fusion_heads": [3, 6],
        "decoder_dim": 16,
        "head_dim": 8,
    },
    "lightm_unet": {"init_filters": 8, "states": 4, "blocks_down": [1, 1, 1]},
}
"""Network to options; a test holds that none is missing."""

SUPERVISED = ("dynunet", "mednext", "unet_plus_plus")
"""Networks of others that can be built for deep supervision."""


def small(name: str, **options: Any) -> NetworkSpec:
    """A network's spec with its small options."""
    return NetworkSpec(name=name, options=SMALL[name] | options)


def patch_of(spec: NetworkSpec) -> tuple[int, int, int]:
    """The smallest patch that a network can be trained on, with three different edges."""
    x, y, z = multiple_of(spec)
    return 2 * x, y, 3 * z


def window_of(spec: NetworkSpec, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy image with a bright block and a brighter one in it, and both as targets."""
    x, y, z = patch_of(spec)
    targets = torch.zeros(batch, 2, x, y, z)
    targets[:, 0, x // 8 : -x // 4, y // 4 :, z // 3 :] = 1
    targets[:, 1, x // 4 : x // 2, y // 2 :, z // 3 : -z // 3] = 1
    noise = torch.randn(batch, 1, x, y, z, generator=torch.Generator().manual_seed(0))
    return targets.sum(1, keepdim=True) - 1 + 0.3 * noise, targets
