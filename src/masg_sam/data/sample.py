"""The embedded sample: the ICBM152 T1 template with its grey- and white-matter maps, from nilearn's package data.

It is an average of 152 healthy heads (Fonov et al., NeuroImage 2011): real anatomy and free to use, but no
patient and no benchmark. The training slices come from the brain that is segmented later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from masg_sam.errors import InputError
from masg_sam.files import folder_moved_into_place

RESOLUTION_MM = 2
LEAST_PROBABILITY = 0.5  # of a tissue, for a voxel to be labelled with it
CLASSES = {"background": 0, "grey matter": 1, "white matter": 2}
CASE, FACTS = "icbm152", "dataset.json"


def write_sample(out: Path, slices: int = 6) -> None:
    """Write the sample in nnU-Net's raw layout: labelled slices to train on, the whole brain to test on.

    Args:
        out: folder, new or empty.
        slices: labelled axial slices, evenly spread through the brain, each a file of its own.

    Raises:
        InputError: nilearn is not installed.
        OutputError: the folder holds something, or cannot be written to.
    """
    with folder_moved_into_place(out) as place:
        image, label, affine = _template()
        held = np.flatnonzero((label > 0).any((0, 1)))
        chosen = np.unique(np.linspace(held[0], held[-1], slices + 2).round().astype(int)[1:-1])
        for index in chosen:
            shifted = affine.copy()
            shifted[:3, 3] += affine[:3, 2] * index
            name = f"{CASE}_slice{index:03d}"
            _write(place, "Tr", name, image[..., index : index + 1], label[..., index : index + 1], shifted)
        _write(place, "Ts", CASE, image, label, affine)
        (place / FACTS).write_text(json.dumps(_facts(len(chosen)), indent=1), encoding="utf-8")


def _facts(training: int) -> dict[str, Any]:
    return {
        "name": "ICBM152 T1 template",
        "channel_names": {"0": "MRI"},
        "labels": CLASSES,
        "numTraining": training,
        "file_ending": ".nii.gz",
        "licence": "ICBM152 2009a, McConnell Brain Imaging Centre: use, copy and change allowed with its notice",
    }


def _template() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T1 as int16 0..1000, classes as uint8, and the affine; x, y, z in RAS order."""
    try:
        from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template
    except ImportError as error:
        raise InputError(
            "the embedded sample needs nilearn",
            expected="nilearn",
            mend="pip install '.[sample]' in a copy of the repository",
        ) from error
    t1 = load_mni152_template(resolution=RESOLUTION_MM)
    grey, white = (
        np.asarray(load(resolution=RESOLUTION_MM).dataobj, np.float32)
        for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    image = np.clip(np.asarray(t1.dataobj, np.float32) * 1000, 0, 1000).round().astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    label[(grey > LEAST_PROBABILITY) & (grey >= white)] = 1
    label[(white > LEAST_PROBABILITY) & (white > grey)] = 2
    return image, label, np.asarray(t1.affine)


def _write(out: Path, part: str, name: str, image: np.ndarray, label: np.ndarray, affine: np.ndarray) -> None:
    import nibabel as nib

    for folder, file, data in (("images", f"{name}_0000.nii.gz", image), ("labels", f"{name}.nii.gz", label)):
        place = out / f"{folder}{part}"
        place.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, affine), place / file)
