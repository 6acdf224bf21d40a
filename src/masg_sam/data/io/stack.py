"""TIFF stacks as volumes: pages are slices, with the voxel size that ImageJ or OME wrote."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from defusedxml import ElementTree

from masg_sam.data.io.formats import STACK
from masg_sam.data.io.limits import must_fit
from masg_sam.data.io.orientation import Orientation, must_place_voxels
from masg_sam.data.volume import Geometry, Volume

log = logging.getLogger(__name__)

SLICES = "ZIQ"  # axes that tifffile gives to slices, to images, and to what nothing is said of
MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", r"\u00b5m", "micron", "microns", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("cm", "centimeter"), 10.0),
    **dict.fromkeys(("inch", "inches", "in"), 25.4),
    "nm": 1e-6,
    "m": 1000.0,
}


def is_stack(file: tifffile.TiffFile) -> bool:
    """Whether a file holds one series of several pages, and no channels or time points."""
    if len(file.series) != 1:
        return False
    series = file.series[0]
    others = [axis for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS" and n > 1]
    return len(others) == 1 and others[0] in SLICES


def read_stack(path: Path, file: tifffile.TiffFile, label: bool) -> Volume:
    """Read an open stack; the first page is the first slice, and rows and columns stay as they are.

    Where the file gives no voxel size, it is 1 mm, and a message says so.

    Raises:
        ImageError: more voxels than can be meant, or than the file holds.
        GeometryError: a voxel size that is none.
    """
    series, page = file.series[0], file.series[0].keyframe
    plain, bits = page.compression == tifffile.COMPRESSION.NONE, page.bitspersample
    must_fit(path, series.shape, max(1, bits // 8), max(1, 8 // bits) if plain else None)
    kept = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if axis in "YXS" or n > 1}
    order = [list(kept).index(axis) for axis in sorted(kept, key=("S" + SLICES + "YX").index)]
    voxels = series.asarray().reshape(tuple(kept.values())).transpose(order)
    data = voxels if "S" in kept else voxels[None]  # S x Z x Y x X
    found = _imagej(file) or _ome(file)
    if found is None and not label:
        log.info("%s: a stack without a voxel size; 1 mm is taken", path)
    spacing, options = found or ((1.0, 1.0, 1.0), {})
    affine = np.diag([*spacing[::-1], 1.0])
    must_place_voxels(path, affine)
    return Volume(_numbers(data), spacing, affine, Geometry(STACK, data.shape[1:], options), path)


def write(mask: np.ndarray, like: Volume, path: Path, names: Mapping[int, str]) -> None:
    """Write a stack of grey pages, with the voxel size as the image has it."""
    options, pages = like.geometry.header or {"metadata": {"axes": "ZYX"}, "compression": "zlib"}, mask
    if mask.shape[2] == 1:  # tifffile takes a last axis of one for a sample, if there is no other
        options, pages = {"metadata": {"axes": "ZYXS"}}, mask[..., None]
    tifffile.imwrite(path, np.ascontiguousarray(pages), photometric="minisblack", **options)


def orientation(volume: Volume) -> Orientation | None:
    """Between the file's axes and ours; none: pages, rows and columns stay as they are."""
    return None


def mask_suffix(volume: Volume) -> str:
    """The image's own."""
    return volume.path.suffix.lower()


def _numbers(data: np.ndarray) -> np.ndarray:
    return data.astype(np.uint8) if data.dtype == bool else data


def _imagej(file: tifffile.TiffFile) -> tuple[tuple[float, float, float], dict[str, Any]] | None:
    """Voxel size along ``Z, Y, X`` in mm as ImageJ writes it, and what writes it again.

    A distance of slices of one unit, it leaves out; of a centimetre or an inch, nobody said so.
    """
    facts, tags = file.imagej_metadata or {}, file.series[0].keyframe.tags
    scale, depth = MM.get(str(facts.get("unit", "")).lower()), facts.get("spacing")
    if depth is None and (scale or MM["cm"]) <= MM["mm"]:
        depth = 1.0
    if scale is None or depth is None or not {"XResolution", "YResolution"} <= {tag.name for tag in tags}:
        return None
    across, down = (tags[name].value for name in ("XResolution", "YResolution"))  # pixels a unit, as a fraction
    spacing = (abs(float(depth)) * scale, scale * down[1] / down[0], scale * across[1] / across[0])
    unit = facts["unit"] if facts["unit"].isascii() else "um"
    metadata = {"axes": "ZYX", "spacing": depth, "unit": unit}
    return spacing, {"imagej": True, "resolution": (across, down), "metadata": metadata}


def _ome(file: tifffile.TiffFile) -> tuple[tuple[float, float, float], dict[str, Any]] | None:
    """The same as OME's XML has it; lengths are micrometres where it does not say."""
    if not file.is_ome or not file.ome_metadata:
        return None
    root = ElementTree.fromstring(file.ome_metadata.encode(), forbid_dtd=True)
    facts: Mapping[str, str] = next(
        (item.attrib for item in root.iter() if item.tag.rpartition("}")[2] == "Pixels"), {}
    )
    lengths = []
    for axis in "ZYX":
        length, scale = facts.get(f"PhysicalSize{axis}"), MM.get(facts.get(f"PhysicalSize{axis}Unit", "µm").lower())
        if length is None or scale is None:
            return None
        lengths.append(float(length) * scale)
    z, y, x = lengths
    metadata = {"axes": "ZYX"} | {key: value for key, value in facts.items() if key.startswith("PhysicalSize")}
    return (z, y, x), {"ome": True, "metadata": metadata, "compression": "zlib"}
