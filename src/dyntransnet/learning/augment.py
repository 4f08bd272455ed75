"""Random changes of a training batch, drawn for each window by itself, computed where it lies.

Rotation, scaling, flips and bending are one resampling of a larger window, so that a made-up
border is hardly ever seen.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from dyntransnet.config import AugmentParams
from dyntransnet.learning.planting import Spacing

BEND_KNOTS = 4
"""Random values along each edge of a patch, which its bending runs through."""

AXES = {"x": 0, "y": 1, "z": 2}


def margin_for(
    patch_size: tuple[int, int, int], params: AugmentParams, spacing_mm: Spacing
) -> tuple[int, int, int]:
    """The window to cut: an enlarged patch fits in it, turned as far as allowed about one axis."""
    lengths_mm = [edge * step for edge, step in zip(patch_size, spacing_mm, strict=True)]
    aside_mm = max(lengths_mm) * math.sin(math.radians(min(params.rotation_deg, 90)))
    x, y, z = (
        math.ceil((1 + params.scale) * (length + aside_mm) / step / 2) * 2
        for length, step in zip(lengths_mm, spacing_mm, strict=True)
    )
    return x, y, z


def augment(
    image: Float[Tensor, "n 1 x y z"],
    label: Float[Tensor, "n 1 x y z"],
    patch_size: tuple[int, int, int],
    params: AugmentParams,
    spacing_mm: Spacing,
    chances: Sequence[torch.Generator],
) -> tuple[Float[Tensor, "n 1 a b c"], Float[Tensor, "n 1 a b c"]]:
    """Turn, scale, flip, bend and re-light a batch, and cut it to the patch.

    Args:
        image: windows larger than the patch, in [-1, 1].
        label: 0, 1, 2 as floats; sampled to the nearest voxel.
        patch_size: voxels of the result.
        params: how far to go.
        spacing_mm: of the grid: bodies are turned, not voxels.
        chances: one for each window; on the CPU, whatever the device.
    """
    grid = affine_grid(
        _matrices(image.shape[2:], patch_size, params, spacing_mm, chances),
        [len(image), 1, *patch_size],
        align_corners=False,
    )
    if params.elastic_mm:
        grid = grid + bending(image.shape[2:], patch_size, params, spacing_mm, chances)
    grid = grid.to(image)
    image = grid_sample(image, grid, padding_mode="border", align_corners=False)
    label = grid_sample(label, grid, mode="nearest", padding_mode="border", align_corners=False)
    return relight(thicken(image, params, spacing_mm, chances), params, chances), label


def bending(
    window: torch.Size,
    patch_size: tuple[int, int, int],
    params: AugmentParams,
    spacing_mm: Spacing,
    chances: Sequence[torch.Generator],
) -> Float[Tensor, "n a b c 3"]:
    """How far each voxel is moved by a smooth random field, in window coordinates.

    ``elastic_mm`` is the farthest that any voxel moves along an axis.
    """
    drawn = params.elastic_mm * _between(chances, 3, *[BEND_KNOTS] * 3)
    field = interpolate(drawn, patch_size, mode="trilinear", align_corners=True)
    half_mm = torch.tensor([size * step / 2 for size, step in zip(window, spacing_mm, strict=True)])
    return field.movedim(1, -1) / half_mm.flip(0)


def thicken(
    image: Float[Tensor, "n 1 x y z"],
    params: AugmentParams,
    spacing_mm: Spacing,
    chances: Sequence[torch.Generator],
) -> Float[Tensor, "n 1 x y z"]:
    """Show a share of the windows as if scanned in slices of up to ``slice_mm`` along z."""
    x, y, z = image.shape[2:]
    shown = []
    for window, chosen, amount in zip(
        image, _between(chances) / 2 + 0.5, _between(chances) / 2 + 0.5, strict=True
    ):
        most = max(1.0, params.slice_mm / spacing_mm[2])
        slices = max(1, round(z / (1 + float(amount) * (most - 1))))
        if chosen < params.thick_slices and slices < z:
            thick = interpolate(window[None], (x, y, slices), mode="area")
            window = interpolate(thick, (x, y, z), mode="trilinear")[0]
        shown.append(window)
    return torch.stack(shown)


def relight(
    image: Float[Tensor, "n 1 x y z"], params: AugmentParams, chances: Sequence[torch.Generator]
) -> Float[Tensor, "n 1 x y z"]:
    """Scale and shift intensities and add noise, inside the range the window allows."""

    def around(center: float, spread: float) -> Tensor:
        return (center + spread * _between(chances, 1, 1, 1, 1)).to(image)

    noise = torch.stack([torch.randn(image.shape[1:], generator=one) for one in chances]).to(image)
    lit = image * around(1.0, params.intensity_scale) + around(0.0, params.intensity_shift)
    return (lit + params.noise * noise).clamp(-1, 1)


def _matrices(
    window: torch.Size,
    patch_size: tuple[int, int, int],
    params: AugmentParams,
    spacing_mm: Spacing,
    chances: Sequence[torch.Generator],
) -> Float[Tensor, "n 3 4"]:
    """One random map per window from patch to window coordinates, each in [-1, 1].

    torch orders coordinates against the array's axes: z, y, x for an (x, y, z) array.
    """
    # In double precision, for a matrix's exponential depends on its neighbors in the batch.
    angles = _between(chances, 3).double() * math.radians(params.rotation_deg)
    turned = torch.linalg.matrix_exp(_skew(angles)).float()
    scaled = turned * (1 + params.scale * _between(chances, 1, 1))
    flips = torch.ones(len(chances), 3)
    for axis in params.flip_axes:
        flips[:, 2 - AXES[axis]] = torch.where(_between(chances) < 0, -1.0, 1.0)
    patch = torch.tensor(patch_size[::-1], dtype=torch.float32)
    full = torch.tensor(tuple(window)[::-1], dtype=torch.float32)
    steps = torch.tensor(spacing_mm[::-1], dtype=torch.float32)
    # Millimeters of the patch, turned and scaled, as shares of the window's half edge.
    linear = scaled * (flips * patch * steps)[:, None, :] / (full * steps)[None, :, None]
    return torch.cat([linear, torch.zeros(len(chances), 3, 1)], dim=2)


def _between(chances: Sequence[torch.Generator], *size: int) -> Float[Tensor, "n ..."]:
    """Even chance in [-1, 1), drawn for each window by itself."""
    return 2 * torch.stack([torch.rand(size, generator=one) for one in chances]) - 1


def _skew(angle: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rotation vectors as skew-symmetric matrices; their exponential is the rotation."""
    x, y, z = angle.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
