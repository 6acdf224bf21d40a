"""What is measured of a mask, in one place, with one rule for empty masks.

Overlap. Dice ``2|A n B| / (|A| + |B|)`` and IoU ``|A n B| / |A u B|``, over voxels.

Surface. The surface of a mask is its voxels with a background neighbour (6 neighbours in a volume, 4 in a
picture or single slice); outside the image is background. Distances run between voxel centres, in mm, from each
surface voxel to the nearest of the other surface. HD95 is the larger of the two directed 95th percentiles (linear
interpolation), HD the larger of the two maxima, ASSD the mean over all surface voxels of both. Surface Dice is
the part of all surface voxels of both masks that lie within the tolerance (by voxel count; Nikolov et al., JMIR
2021, weigh by area instead).

Empty masks. Both empty: nothing is defined. Only the label empty (false alarm): the overlaps and surface Dice are
0, recall and distances are undefined. Only the prediction empty (missed): the overlaps and surface Dice are 0,
precision and distances are undefined. An undefined value is ``None``, never 0, and is left out of means; how often
each happened is counted beside them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

METRICS = (
    "dice",
    "iou",
    "hd95_mm",
    "hd_mm",
    "assd_mm",
    "surface_dice",
    "precision",
    "recall",
    "relative_volume_error",
)
STATES = ("both_present", "both_empty", "false_alarm", "missed")
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class in one case; ``None`` where the empty-mask rule leaves them undefined.

    Attributes:
        state: ``both_present``, ``both_empty``, ``false_alarm`` or ``missed``.
        dice, iou, precision, recall, surface_dice: 0..1.
        hd95_mm, hd_mm, assd_mm: mm; pixels in pictures.
        relative_volume_error: ``(|prediction| - |label|) / |label|``.
        prediction_ml, label_ml: millilitres; thousands of pixels in pictures.
    """

    state: str
    dice: float | None
    iou: float | None
    hd95_mm: float | None
    hd_mm: float | None
    assd_mm: float | None
    surface_dice: float | None
    precision: float | None
    recall: float | None
    relative_volume_error: float | None
    prediction_ml: float
    label_ml: float

    def to_dict(self) -> dict[str, float | str | None]:
        """For JSON."""
        return asdict(self)


def score(prediction: np.ndarray, label: np.ndarray, spacing: Spacing, tolerance_mm: float = 2.0) -> ClassScores:
    """Compare two masks of one class.

    Args:
        prediction: ``Z x Y x X`` of bool.
        label: the same shape.
        spacing: mm along Z, Y, X.
        tolerance_mm: of the surface Dice.
    """
    prediction, label = prediction.astype(bool), label.astype(bool)
    predicted, labelled = int(prediction.sum()), int(label.sum())
    millilitres = float(np.prod(spacing)) / 1000
    volumes = {"prediction_ml": predicted * millilitres, "label_ml": labelled * millilitres}
    if not predicted or not labelled:
        return _one_empty(bool(predicted), bool(labelled), volumes)
    overlap = int(np.count_nonzero(prediction & label))
    to_label, to_prediction = surface_distances(prediction, label, spacing)
    both = np.concatenate([to_label, to_prediction])
    return ClassScores(
        state="both_present",
        dice=2 * overlap / (predicted + labelled),
        iou=overlap / (predicted + labelled - overlap),
        hd95_mm=float(max(np.percentile(to_label, 95), np.percentile(to_prediction, 95))),
        hd_mm=float(both.max()),
        assd_mm=float(both.mean()),
        surface_dice=float((both <= tolerance_mm).mean()),
        precision=overlap / predicted,
        recall=overlap / labelled,
        relative_volume_error=(predicted - labelled) / labelled,
        **volumes,
    )


def surface_distances(first: np.ndarray, second: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each surface voxel of one mask to the other's surface, both ways.

    Args:
        first: ``Z x Y x X`` of bool, not empty.
        second: the same.
        spacing: mm along Z, Y, X.

    Returns:
        Distances in mm, from the first to the second and from the second to the first.
    """
    box = _bounding_box(first | second)
    surfaces = [surface(mask[box]) for mask in (first, second)]
    distances = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in surfaces]
    return distances[1][surfaces[0]], distances[0][surfaces[1]]


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask with a background neighbour; an axis of length one has no neighbours."""
    neighbours = ndimage.generate_binary_structure(3, 1)
    for axis, length in enumerate(mask.shape):
        if length == 1:
            neighbours = neighbours & np.moveaxis(np.array([False, True, False])[:, None, None], 0, axis)
    return mask & ~ndimage.binary_erosion(mask, neighbours)


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box around a mask; beyond it there is no surface, so nothing is lost by cutting."""
    z, y, x = ndimage.find_objects(mask.astype(np.uint8))[0]
    box = (z, y, x)
    # A box of one slice must not turn a volume's surface into a flat one: keep a neighbour.
    return tuple(slice(max(side.start - 1, 0), min(side.stop + 1, n)) for side, n in zip(box, mask.shape, strict=True))  # type: ignore[return-value]


def _one_empty(predicted: bool, labelled: bool, volumes: dict[str, float]) -> ClassScores:
    state = "missed" if labelled else "false_alarm" if predicted else "both_empty"
    zero = None if state == "both_empty" else 0.0
    return ClassScores(
        state=state,
        dice=zero,
        iou=zero,
        hd95_mm=None,
        hd_mm=None,
        assd_mm=None,
        surface_dice=zero,
        precision=0.0 if predicted else None,
        recall=0.0 if labelled else None,
        relative_volume_error=-1.0 if state == "missed" else None,
        **volumes,
    )
