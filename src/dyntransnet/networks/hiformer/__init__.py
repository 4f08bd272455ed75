"""HiFormer, a comparison network for slices: a CNN pyramid and Swin stages, fused level by level.

A *slice* is (batch, channels, x, y), a *grid* keeps its tokens in place as (batch, x, y,
channels), *tokens* are (batch, tokens, channels) with the class token first. Of the paper's
two levels "small" is here the fine one (stride 4), "large" the coarse one (stride 16).
Source: Heidari et al., HiFormer: Hierarchical multi-scale representations using transformers
for medical image segmentation, WACV 2023, https://arxiv.org/abs/2207.08518
"""

from dyntransnet.networks.hiformer.network import (
    MULTIPLE,
    HiFormer,
    HiFormerArchitecture,
    hiformer,
)

__all__ = ["MULTIPLE", "HiFormer", "HiFormerArchitecture", "hiformer"]
