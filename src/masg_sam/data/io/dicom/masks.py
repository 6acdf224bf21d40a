"""Masks of a DICOM input in formats that every tool reads."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from masg_sam.data.io.nifti import RAS_TO_LPS
from masg_sam.data.io.picture import write as write_picture
from masg_sam.data.volume import Volume

__all__ = ["write_nifti", "write_picture"]

SCANNER = 1  # the code of an affine in the scanner's coordinates


def write_nifti(mask: np.ndarray, like: Volume, path: Path) -> None:
    """Write a mask ``Z x Y x X`` on the series' own slices, column, row, slice, with its affine in RAS.

    A tilted stack has axes that are not at right angles, which only an sform can say.
    """
    grid = like.geometry.header
    affine = RAS_TO_LPS @ grid.affine
    image = nib.Nifti1Image(np.ascontiguousarray(grid.orientation.to_file(mask)), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, SCANNER)
    if not grid.tilt:
        image.set_qform(affine, SCANNER)
    nib.save(image, path)
