"""The formats that masks are written in, and which of them fit which input."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from masg_sam.data.io.kinds import SEGMENTATION_SUFFIX, STRUCTURES_SUFFIX, format_of, suffix_of
from masg_sam.data.volume import Volume
from masg_sam.errors import ConfigError, OutputError

SCAN_FORMATS = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha"}
PICTURE_FORMATS = {"png": ".png"}
STACK_FORMATS = {"tiff": ".tif"}
STACK_SUFFIXES = (".tif", ".tiff")
STACK = "stack"  # the reader-writer of TIFF stacks
DICOM_FORMATS = {"dicom-seg": SEGMENTATION_SUFFIX, "rtstruct": STRUCTURES_SUFFIX}
MASK_FORMATS = SCAN_FORMATS | PICTURE_FORMATS | STACK_FORMATS | DICOM_FORMATS


def check_format(name: str, images: Iterable[Path]) -> None:
    """Make sure that masks of some images can be written in a format, before any work is done.

    Whether DICOM is a scan or a picture, and TIFF a stack or a picture, shows only when it is read; both are let pass.

    Args:
        name: of the format.
        images: files, or folders of DICOM.

    Raises:
        ConfigError: no such format.
        OutputError: an image whose mask it cannot hold.
    """
    if name not in MASK_FORMATS:
        raise ConfigError("no such mask format", found=name, expected=", ".join(MASK_FORMATS))
    for path in images:
        kind = format_of(path)
        fitting = SCAN_FORMATS
        if kind == "dicom":
            fitting = SCAN_FORMATS | PICTURE_FORMATS | DICOM_FORMATS
        elif kind == "picture":
            fitting = PICTURE_FORMATS | (STACK_FORMATS if suffix_of(path) in STACK_SUFFIXES else {})
        if name not in fitting:
            raise OutputError(
                f"a mask of this file cannot be written as {name}",
                path=path,
                expected=" or ".join(fitting),
                mend="give another --format, or leave it out for the format of the image",
            )


def mask_suffixes(like: Volume) -> tuple[str, ...]:
    """The endings that a mask of an image may have."""
    if like.geometry.format == STACK:
        return STACK_SUFFIXES
    if like.is_picture:
        return tuple(PICTURE_FORMATS.values())
    scans = (*SCAN_FORMATS.values(), ".nii")
    return (*DICOM_FORMATS.values(), *scans) if like.geometry.format == "dicom" else scans
