"""Networks from MONAI that DynTransNet is compared with, each with one channel in, two out.

The defaults are the published sizes; the options shrink a network for a CPU. MONAI is
imported where a network is built, since that takes seconds.
"""

from typing import Annotated

from pydantic import Field, PositiveInt, validate_call
from torch import nn

from dyntransnet.networks.outputs import (
    FinestFirst,
    Supervised,
    as_list,
    last_first,
    logits_alone,
)

CLASSES = 2

NNUNET_WIDEST = 320
"""Channels of nnU-Net's coarsest levels, at most."""

Patch = tuple[int, int, int]
FourStages = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]


@validate_call
def unetr(
    *,
    patch_size: Patch,
    feature_size: PositiveInt = 16,
    hidden_size: PositiveInt = 768,
    mlp_dim: PositiveInt = 3072,
    heads: PositiveInt = 12,
) -> nn.Module:
    """UNETR: a vision transformer of 12 blocks, and a convolutional decoder on four of them.

    Its table of positions has one row for each token, so it fits one patch size only.

    Source:
        Hatamizadeh et al., UNETR, https://arxiv.org/abs/2103.10504
    """
    from monai.networks.nets import UNETR

    network = UNETR(
        in_channels=1,
        out_channels=CLASSES,
        img_size=patch_size,
        feature_size=feature_size,
        hidden_size=hidden_size,
        mlp_dim=mlp_dim,
        num_heads=heads,
    )
    drop_unused_norms(network.vit.blocks)
    return network


@validate_call
def swin_unetr(
    *,
    patch_size: Patch,
    feature_size: Annotated[int, Field(gt=0, multiple_of=12)] = 48,
    depths: FourStages = (2, 2, 2, 2),
) -> nn.Module:
    """Swin UNETR: attention in shifted windows of 7, and UNETR's decoder.

    Source:
        Hatamizadeh et al., Swin UNETR, https://arxiv.org/abs/2201.01266
    """
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(in_channels=1, out_channels=CLASSES, feature_size=feature_size, depths=depths)


@validate_call
def segresnet(
    *, patch_size: Patch, init_filters: Annotated[int, Field(gt=0, multiple_of=8)] = 8
) -> nn.Module:
    """SegResNet: residual blocks with group norm, and a light decoder.

    Source:
        Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization,
        https://arxiv.org/abs/1810.11654
    """
    from monai.networks.nets import SegResNet

    return SegResNet(init_filters=init_filters, in_channels=1, out_channels=CLASSES)


@validate_call
def vnet(*, patch_size: Patch) -> nn.Module:
    """V-Net: residual 5 x 5 x 5 convolutions with dropout. Its 16 first channels are fixed.

    Source:
        Milletari et al., V-Net, https://arxiv.org/abs/1606.04797
    """
    from monai.networks.nets import VNet

    return VNet(spatial_dims=3, in_channels=1, out_channels=CLASSES)


@validate_call
def vit_autoenc(
    *,
    patch_size: Patch,
    hidden_size: PositiveInt = 768,
    mlp_dim: PositiveInt = 3072,
    layers: PositiveInt = 12,
    heads: PositiveInt = 12,
) -> nn.Module:
    """ViTAutoEnc: a vision transformer, and two transposed convolutions without skips.

    Its table of positions has one row for each token, so it fits one patch size only.

    Source:
        Dosovitskiy et al., An image is worth 16x16 words, https://arxiv.org/abs/2010.11929
    """
    from monai.networks.nets import ViTAutoEnc

    network = ViTAutoEnc(
        in_channels=1,
        img_size=patch_size,
        patch_size=(16, 16, 16),
        out_channels=CLASSES,
        hidden_size=hidden_size,
        mlp_dim=mlp_dim,
        num_layers=layers,
        num_heads=heads,
    )
    drop_unused_norms(network.blocks)
    return FinestFirst(network, logits_alone)


@validate_call
def unet3d(*, patch_size: Patch, filters: PositiveInt = 32) -> nn.Module:
    """3D U-Net of five levels with two residual units at each.

    Source:
        Kerfoot et al., Left-ventricle quantification using residual U-Net,
        https://doi.org/10.1007/978-3-030-12029-0_40
    """
    from monai.networks.nets import UNet

    return UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=CLASSES,
        channels=[filters * 2**level for level in range(5)],
        strides=(2, 2, 2, 2),
        num_res_units=2,
    )


@validate_call
def attention_unet(*, patch_size: Patch, filters: PositiveInt = 32) -> nn.Module:
    """Attention U-Net of five levels: the gates that FM-M builds on.

    Source:
        Oktay et al., Attention U-Net, https://arxiv.org/abs/1804.03999
    """
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(
        spatial_dims=3,
        in_channels=1,
        out_channels=CLASSES,
        channels=[min(filters * 2**level, NNUNET_WIDEST) for level in range(5)],
        strides=(2, 2, 2, 2),
    )


@validate_call
def unet_plus_plus(
    *, patch_size: Patch, filters: PositiveInt = 32, deep_supervision: bool = False
) -> nn.Module:
    """U-Net++: decoders of every depth, nested; each can be supervised, all at full resolution.

    Source:
        Zhou et al., UNet++, https://arxiv.org/abs/1807.10165
    """
    from monai.networks.nets import BasicUNetPlusPlus

    widths = [filters, *(filters * 2**level for level in range(4)), filters]
    network = BasicUNetPlusPlus(
        out_channels=CLASSES, features=widths, deep_supervision=deep_supervision
    )
    if not deep_supervision:
        # MONAI computes these heads all the same, and throws their logits away.
        for head in ("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"):
            setattr(network, head, nn.Identity())
    return FinestFirst(network, last_first)


@validate_call
def mednext(
    *, patch_size: Patch, init_filters: PositiveInt = 32, deep_supervision: bool = False
) -> nn.Module:
    """MedNeXt-S with kernels of 3: ConvNeXt blocks in a U, resampling by residual blocks too.

    Source:
        Roy et al., MedNeXt, https://arxiv.org/abs/2303.09975
    """
    from monai.networks.nets import MedNeXt

    network = MedNeXt(
        in_channels=1,
        out_channels=CLASSES,
        init_filters=init_filters,
        kernel_size=3,
        use_residual_connection=True,
        deep_supervision=deep_supervision,
    )
    return FinestFirst(network, as_list)


@validate_call
def dynunet(
    *, patch_size: Patch, filters: PositiveInt = 32, deep_supervision: bool = False
) -> nn.Module:
    """DynUNet with nnU-Net's topology: five levels, instance norm, leaky ReLU.

    Source:
        Isensee et al., nnU-Net, https://arxiv.org/abs/1809.10486
    """
    from monai.networks.nets import DynUNet

    network = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=CLASSES,
        kernel_size=[3] * 5,
        strides=[1, 2, 2, 2, 2],
        upsample_kernel_size=[2] * 4,
        filters=[min(filters * 2**level, NNUNET_WIDEST) for level in range(5)],
        deep_supervision=deep_supervision,
        # nnU-Net gives the coarsest of its logits no weight.
        deep_supr_num=2,
    )
    return Supervised(network)


def drop_unused_norms(blocks: nn.ModuleList) -> None:
    """Take out the norms that MONAI's transformer blocks have for a cross-attention they lack.

    No gradient would reach them, which training in several processes does not allow.
    """
    for block in blocks:
        block.norm_cross_attn = nn.Identity()
