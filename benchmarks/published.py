"""Downloads of published few-shot settings in nnU-Net's raw layout, as `protocols/*.yaml` say.

python benchmarks/published.py synapse DOWNLOAD --out DATA
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import yaml

from masg_sam.data.io import file_slice, read_label, write_label
from masg_sam.data.volume import Volume

HERE = Path(__file__).parent
NIFTI = ".nii.gz"
AXIAL = 0  # of Z x Y x X


def prepare(name: str, source: Path, place: Path) -> Path:
    """Convert a download, unless that is done already.

    Args:
        name: of the protocol.
        source: folder of the download; the files may lie at any depth.
        place: folder to write; its ``dataset.json`` is written last.

    Returns:
        ``place``.
    """
    if (place / "dataset.json").exists():
        return place
    protocol = read_protocol(name)
    classes = protocol["classes"]
    sys.stderr.write(f"converting {protocol['title']} from {source}\n")
    for part, cases in (("Tr", protocol["train"]), ("Ts", dict.fromkeys(protocol["test"], "all"))):
        for case, labelled in cases.items():
            image, label = (find(source, protocol[kind].format(case=case)) for kind in ("image", "label"))
            as_nifti(image, place / f"images{part}" / f"case{case}_0000{NIFTI}")
            target = place / f"labels{part}" / f"case{case}{NIFTI}"
            as_nifti(label, target)
            volume = read_label(target)
            write_label(chosen(volume, list(classes.values()), labelled), volume, target)
    labels = {"background": 0} | {organ: k for k, organ in enumerate(classes, start=1)}
    if any(labelled != "all" for labelled in protocol["train"].values()):
        labels["ignore"] = len(labels)
    facts = {
        "name": protocol["title"],
        "channel_names": {"0": protocol["modality"]},
        "labels": labels,
        "numTraining": len(protocol["train"]),
        "file_ending": NIFTI,
    }
    (place / "dataset.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return place


def read_protocol(name: str) -> dict[str, Any]:
    """The file of that name in ``protocols/``."""
    return yaml.safe_load((HERE / "protocols" / f"{name}.yaml").read_text(encoding="utf-8"))


def find(folder: Path, name: str) -> Path:
    """The one file of that name below a folder."""
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise SystemExit(f"{folder}: {len(found)} files are called {name}; one is needed, see benchmarks/protocols")
    return found[0]


def as_nifti(path: Path, target: Path) -> None:
    """The same image as compressed NIfTI."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(NIFTI):
        shutil.copy(path, target)
    else:
        sitk.WriteImage(sitk.ReadImage(path), target, useCompression=True)


def chosen(label: Volume, values: list[int], labelled: str | list[int]) -> np.ndarray:
    """Classes 1..K for the values, 0 for all others, and K+1 in the slices that are not labelled.

    Args:
        label: as it was read.
        values: of the classes 1..K in the file.
        labelled: ``all``, or axial slices, counted from 0 in the order of the file.
    """
    data = label.data[0]
    mask = np.zeros(data.shape, np.uint8)
    for k, value in enumerate(values, start=1):
        mask[data == value] = k
    if labelled != "all":
        hidden = [z for z in range(len(mask)) if file_slice(label, AXIAL, z) not in labelled]
        mask[hidden] = len(values) + 1
    return mask


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=sorted(path.stem for path in (HERE / "protocols").glob("*.yaml")))
    parser.add_argument("download", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    prepare(given.protocol, given.download, given.out)


if __name__ == "__main__":
    main()
