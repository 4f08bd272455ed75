"""A series of slices as one scan, put in order by where the slices lie."""

from collections.abc import Collection, Sequence

import numpy as np
import SimpleITK as sitk

from dyntransnet.contract import Modality
from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import check_pixels
from dyntransnet.imaging.dicom.headers import Header, Plane
from dyntransnet.imaging.limits import check_size
from dyntransnet.imaging.scan import LPS_TO_RAS, Affine, Scan, to_voxels

MIN_SLICES = 2

IMAGES = ("CT", "MR")

VOXEL_BYTES = 2
"""Of a scanner's slices; what a rescale slope makes larger comes back as float32."""

SAME_PLACE_MM = 0.01

OFF_PLACE = 0.1
"""How far a slice may lie off an even spacing, as a share of it: scanners round positions."""

OFF_AXIS = 0.5
"""How far the last slice may have slid within its plane, in pixels."""

PARALLEL_TOLERANCE = 1e-3
"""How far slices' unit vectors may differ."""

SPACING_TOLERANCE_MM = 1e-3


def choose_series(
    headers: Sequence[Header], modality: Modality, named: Collection[str], case: str
) -> list[Header]:
    """The one volume of a folder.

    Args:
        headers: of all its files.
        modality: of the volume.
        named: series that the folder's segmentations refer to; they decide between several.
        case: what messages call it.

    Raises:
        ScanError: there is none, or more than one.
    """
    groups = grouped(headers, case)
    volumes = [group for group in groups if group[0].modality == modality and is_volume(group)]
    if len(volumes) > 1:
        volumes = [group for group in volumes if group[0].series in named] or volumes
    if len(volumes) != 1:
        shown = " and ".join(sorted(map(outline_of, volumes or groups)))
        raise ScanError(
            f"{case}: must hold one {modality} series, got {shown or 'none'}", code="series-not-one"
        )
    return volumes[0]


def grouped(headers: Sequence[Header], who: str) -> list[list[Header]]:
    """The images of each series, in the order in which they lie; overviews are left out.

    Args:
        headers: of all files.
        who: what messages call them.

    Raises:
        ScanError: some slices name no series, as where a file was cut off; all may.
    """
    series: dict[tuple[str, str], list[Header]] = {}
    for header in headers:
        if header.modality in IMAGES and not header.is_localizer:
            series.setdefault((header.series, header.modality), []).append(header)
    nameless = sum(len(group) for (name, _), group in series.items() if not name)
    if nameless and any(name for name, _ in series):
        raise ScanError(
            f"{who}: each slice must name its series, got {nameless} without", code="unreadable"
        )
    return list(series.values())


def is_volume(group: Sequence[Header]) -> bool:
    """Whether a series has slices enough."""
    return sum(one.frames for one in group) >= MIN_SLICES


def outline_of(slices: Sequence[Header]) -> str:
    """A series without what may tell of a patient."""
    first = slices[0]
    return f"series {first.number or 'without number'} ({first.modality}, {len(slices)} slices)"


def read_series(slices: Sequence[Header], case: str) -> Scan:
    """Read a series of single slices.

    Args:
        slices: its headers, in any order.
        case: the scan's id, and what messages call it.

    Returns:
        Voxels with each slice's own rescale slope and intercept applied.

    Raises:
        ScanError: a slice has no place, is missing, stands twice or cannot be decoded; there
            are more voxels than in any scan; or the slices differ in size, spacing or
            direction, or are not stacked at right angles.
    """
    ordered, affine = stack(slices, case)
    if plane := ordered[0].plane:
        check_size((plane.columns, plane.rows, len(ordered)), VOXEL_BYTES, case)
    arrays = [
        _decoded(header, f"{case}: slice {place} of {len(ordered)}")
        for place, header in enumerate(ordered, start=1)
    ]
    return Scan(case, to_voxels(np.stack(arrays).T, case), affine)


def stack(slices: Sequence[Header], case: str) -> tuple[list[Header], Affine]:
    """Order slices along their normal.

    Returns:
        The slices, and the affine of voxel (column, row, slice) in RAS.

    Raises:
        ScanError: as ``read_series``.
    """
    planes = _planes(slices, case)
    _check_alike(planes, case)
    first, positions = planes[0], np.stack([plane.position for plane in planes])
    heights = positions @ first.normal
    order = np.argsort(heights, kind="stable")
    step = _even_step(heights[order], case)
    _check_upright(positions[order], first, case)
    affine = np.eye(4)
    affine[:3, 0] = first.across * first.spacing_mm[0]
    affine[:3, 1] = first.down * first.spacing_mm[1]
    affine[:3, 2] = first.normal * step
    affine[:3, 3] = positions[order[0]]
    return [slices[index] for index in order], LPS_TO_RAS @ affine


def _planes(slices: Sequence[Header], case: str) -> list[Plane]:
    if many := sum(header.frames > 1 for header in slices):
        raise ScanError(
            f"{case}: each file must hold one slice, got {many} with several frames",
            code="multi-frame",
        )
    planes = [header.plane for header in slices if header.plane]
    if missing := len(slices) - len(planes):
        raise ScanError(
            f"{case}: each slice must have a place in space, got {missing} without",
            code="slice-place",
        )
    return planes


def _check_alike(planes: Sequence[Plane], case: str) -> None:
    sizes = sorted({f"{plane.columns} x {plane.rows}" for plane in planes})
    if len(sizes) > 1:
        raise ScanError(
            f"{case}: slices must be of one size, got {' and '.join(sizes)}", code="slices-unlike"
        )
    spacings = np.array([plane.spacing_mm for plane in planes])
    if np.ptp(spacings, axis=0).max() > SPACING_TOLERANCE_MM:
        low, high = spacings.min(), spacings.max()
        raise ScanError(
            f"{case}: slices must share one spacing, got {low:g} to {high:g} mm",
            code="slices-unlike",
        )
    axes = np.array([[*plane.across, *plane.down] for plane in planes])
    if np.ptp(axes, axis=0).max() > PARALLEL_TOLERANCE:
        apart = np.degrees(np.arccos(np.clip(axes[:, :3] @ axes[0, :3], -1, 1)).max())
        raise ScanError(
            f"{case}: slices must be parallel, got turns of up to {apart:.2g} degrees",
            code="slices-unlike",
        )


def _even_step(heights: np.ndarray, case: str) -> float:
    """The distance of neighbors, in millimeters; heights rise."""
    if len(heights) < MIN_SLICES:
        raise ScanError(
            f"{case}: must have at least {MIN_SLICES} slices, got {len(heights)}", code="edge-short"
        )
    gaps = np.diff(heights)
    if doubled := int((gaps < SAME_PLACE_MM).sum()):
        places = len(heights) - doubled
        raise ScanError(
            f"{case}: each place must have one slice, got {len(heights)} slices at {places} places",
            code="slices-doubled",
        )
    usual = float(np.median(gaps))
    if gaps.max() >= 1.5 * usual:
        missing = round(gaps.max() / usual) - 1
        raise ScanError(
            f"{case}: slices must lie {usual:.4g} mm apart, got a gap of {gaps.max():.4g} mm "
            f"after slice {gaps.argmax() + 1} of {len(heights)} ({missing} missing)",
            code="slices-missing",
        )
    step = float(heights[-1] - heights[0]) / len(gaps)
    if np.abs(heights - heights[0] - step * np.arange(len(heights))).max() > OFF_PLACE * step:
        raise ScanError(
            f"{case}: slices must be evenly spaced, got {gaps.min():.4g} to {gaps.max():.4g} mm",
            code="slices-uneven",
        )
    return step


def _check_upright(positions: np.ndarray, first: Plane, case: str) -> None:
    """Slices of a tilted gantry slide sideways as they rise."""
    away = positions - positions[0]
    slid = np.linalg.norm(away - np.outer(away @ first.normal, first.normal), axis=1).max()
    if slid > OFF_AXIS * min(first.spacing_mm):
        angle = np.degrees(np.arctan2(slid, np.ptp(away @ first.normal)))
        raise ScanError(
            f"{case}: slices must be stacked at right angles, got {angle:.2g} degrees off, as of a "
            f"tilted gantry ({slid:.3g} mm from first to last)",
            code="affine-sheared",
        )


def _decoded(header: Header, who: str) -> np.ndarray:
    """One slice's values, (rows, columns)."""
    check_pixels(header.path, who)
    try:
        image = sitk.ReadImage(str(header.path), imageIO="GDCMImageIO")
    except RuntimeError as error:  # its words hold the path
        raise ScanError(
            f"{who} must be an image that can be decoded, got damage", code="unreadable"
        ) from error
    array = sitk.GetArrayFromImage(image)
    plane = header.plane
    if not plane or array.shape != (1, plane.rows, plane.columns):
        raise ScanError(
            f"{who} must be gray and of the size it says, got {array.shape}", code="voxels-color"
        )
    return array[0]
