"""What is measured of a mask, in one place, with one rule for empty masks.

Overlap. Dice ``2|A n B| / (|A| + |B|)`` and IoU ``|A n B| / |A u B|``, over voxels.

Surface. The surface of a mask is its voxels with a background neighbour (6 neighbours in a volume, 4 in a
picture or single slice); outside the image is background. Distances run between voxel centres, in mm, from each
surface voxel to the nearest of the other surface. HD95 is the larger of the two directed 95th percentiles (linear
interpolation), HD the larger of the two maxima, ASSD the mean over all surface voxels of both. Surface Dice is
the part of all surface voxels of both masks that lie within the tolerance (by voxel count; Nikolov et al., JMIR
2021, weigh by area instead). Boundary F1 is the harmonic mean of the part of the prediction's surface and the
part of the label's surface within that tolerance (Csurka et al., BMVC 2013). These are the definitions of MONAI.

Lesions. Connected components, diagonals included. One of the label is found when the prediction overlaps it in
a voxel, else missed; one of the prediction that overlaps none of the label is a false positive.

Empty masks. Both empty: nothing is defined. Only the prediction holds something (a false alarm): overlaps,
surface Dice and boundary F1 are 0, as is precision; recall and distances are undefined. Only the label does
(missed): overlaps, surface Dice and boundary F1 are 0, as is recall; precision and distances are undefined. An
undefined value is ``None``, never 0, and is left out of means; how often each happened is counted beside them.
Lesion counts and volumes are defined always.

Voxels that nobody labelled. They count on neither side. Where they touch either mask, as where only some slices of
a scan are labelled, nobody knows its surface or its pieces there: distances, surface Dice, boundary F1 and lesion
counts are undefined.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from masg_sam.errors import GeometryError

METRICS = (
    "dice",
    "iou",
    "hd95_mm",
    "hd_mm",
    "assd_mm",
    "surface_dice",
    "boundary_f1",
    "precision",
    "recall",
    "relative_volume_error",
)
SURFACE = ("hd95_mm", "hd_mm", "assd_mm", "surface_dice", "boundary_f1")
LESIONS = ("lesions_found", "lesions_missed", "lesions_false")
STATES = ("both_present", "both_empty", "only_prediction", "missed")
ROUNDING_MM = 1e-6  # a distance that equals the tolerance lies within it, whatever rounding did to it
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class in one case; ``None`` where the empty-mask rule leaves them undefined.

    Attributes:
        state: ``both_present``, ``both_empty``, ``only_prediction`` or ``missed``.
        dice, iou, surface_dice, boundary_f1, precision, recall: 0..1.
        hd95_mm, hd_mm, assd_mm: mm; pixels in pictures.
        relative_volume_error: ``(|prediction| - |label|) / |label|``; undefined where the label is empty.
        lesions_found, lesions_missed: connected components of the label; ``None`` where unlabelled voxels touch a mask.
        lesions_false: connected components of the prediction; ``None`` likewise.
        prediction_ml, label_ml: millilitres; ``None`` in pictures.
    """

    state: str
    dice: float | None
    iou: float | None
    hd95_mm: float | None
    hd_mm: float | None
    assd_mm: float | None
    surface_dice: float | None
    boundary_f1: float | None
    precision: float | None
    recall: float | None
    relative_volume_error: float | None
    lesions_found: int | None
    lesions_missed: int | None
    lesions_false: int | None
    prediction_ml: float | None
    label_ml: float | None

    def to_dict(self) -> dict[str, float | str | None]:
        """For JSON."""
        return asdict(self)


def score(
    prediction: np.ndarray,
    label: np.ndarray,
    spacing: Spacing,
    tolerance_mm: float = 2.0,
    voxel_ml: float | None = None,
    labelled: np.ndarray | None = None,
) -> ClassScores:
    """Compare two masks of one class.

    Args:
        prediction: ``Z x Y x X`` of bool.
        label: the same shape.
        spacing: mm along Z, Y, X.
        tolerance_mm: of the surface Dice and the boundary F1.
        voxel_ml: volume of a voxel in millilitres; without it, its axes are taken to be at right angles.
        labelled: the same shape; where somebody said what is there. ``None`` for everywhere.

    Raises:
        GeometryError: the masks differ in shape, or have no three axes.
    """
    _must_match(prediction, label)
    prediction, label = prediction.astype(bool, copy=False), label.astype(bool, copy=False)
    box, whole = _box(prediction | label), True
    prediction, label = prediction[box], label[box]
    if labelled is not None:
        known = labelled[box]
        prediction, label = prediction & known, label & known
        whole = not _touches(~known, prediction | label)
    predicted, true = int(prediction.sum()), int(label.sum())
    millilitres = float(np.prod(spacing)) / 1000 if voxel_ml is None else voxel_ml
    volumes = {"prediction_ml": predicted * millilitres, "label_ml": true * millilitres}
    lesions = count_lesions(prediction, label) if whole else dict.fromkeys(LESIONS)
    measured: dict[str, float | None]
    if predicted and true:
        state = "both_present"
        surfaces = _surface(prediction, label, spacing, tolerance_mm) if whole else dict.fromkeys(SURFACE)
        measured = {**_overlap(prediction, label), **surfaces}
    else:
        state = "missed" if true else "only_prediction" if predicted else "both_empty"
        measured = _with_an_empty_mask(state)
    return ClassScores(state, **measured, **lesions, **volumes)  # type: ignore[arg-type]


def surface_distances(first: np.ndarray, second: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each surface voxel of one mask to the other's surface, both ways.

    Args:
        first: ``Z x Y x X`` of bool, not empty.
        second: the same.
        spacing: mm along Z, Y, X.

    Returns:
        Distances in mm, from the first to the second and from the second to the first.
    """
    points = [np.argwhere(surface(mask)) * spacing for mask in (first, second)]
    return KDTree(points[1]).query(points[0])[0], KDTree(points[0]).query(points[1])[0]


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask with a background neighbour; an axis of length one has no neighbours."""
    neighbours = ndimage.generate_binary_structure(3, 1)
    for axis, length in enumerate(mask.shape):
        if length == 1 < mask.size:
            neighbours &= np.expand_dims([False, True, False], [other for other in range(3) if other != axis])
    return mask & ~ndimage.binary_erosion(mask, neighbours)


def count_lesions(prediction: np.ndarray, label: np.ndarray) -> dict[str, int]:
    """How many connected components were found, missed, and made up.

    Args:
        prediction: ``Z x Y x X`` of bool.
        label: the same.
    """
    diagonals = np.ones((3, 3, 3), bool)
    true, count = ndimage.label(label, diagonals)
    made, made_count = ndimage.label(prediction, diagonals)
    met, right = (len(np.unique(parts[prediction & label])) for parts in (true, made))
    return {"lesions_found": met, "lesions_missed": count - met, "lesions_false": made_count - right}


def _overlap(prediction: np.ndarray, label: np.ndarray) -> dict[str, float]:
    both, predicted, labelled = (int(mask.sum()) for mask in (prediction & label, prediction, label))
    return {
        "dice": 2 * both / (predicted + labelled),
        "iou": both / (predicted + labelled - both),
        "precision": both / predicted,
        "recall": both / labelled,
        "relative_volume_error": (predicted - labelled) / labelled,
    }


def _surface(prediction: np.ndarray, label: np.ndarray, spacing: Spacing, tolerance_mm: float) -> dict[str, float]:
    directed = surface_distances(prediction, label, spacing)
    both = np.concatenate(directed)
    within = both <= tolerance_mm + ROUNDING_MM
    precision, recall = within[: len(directed[0])].mean(), within[len(directed[0]) :].mean()
    return {
        "hd95_mm": float(max(np.percentile(distances, 95) for distances in directed)),
        "hd_mm": float(both.max()),
        "assd_mm": float(both.mean()),
        "surface_dice": float(within.mean()),
        "boundary_f1": float(2 * precision * recall / (precision + recall)) if within.any() else 0.0,
    }


def _touches(unlabelled: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a voxel of the mask has an unlabelled neighbour."""
    return bool((ndimage.binary_dilation(unlabelled, ndimage.generate_binary_structure(3, 1)) & mask).any())


def _with_an_empty_mask(state: str) -> dict[str, float | None]:
    """The rule for empty masks, the only place where it is written."""
    values: dict[str, float | None] = dict.fromkeys(METRICS)
    if state == "both_empty":
        return values
    values |= dict.fromkeys(("dice", "iou", "surface_dice", "boundary_f1"), 0.0)
    if state == "missed":
        return values | {"recall": 0.0, "relative_volume_error": -1.0}
    return values | {"precision": 0.0}


def _must_match(prediction: np.ndarray, label: np.ndarray) -> None:
    if prediction.shape != label.shape or label.ndim != 3:
        raise GeometryError(
            "masks cannot be compared",
            found=f"prediction of shape {prediction.shape}, label of shape {label.shape}",
            expected="two masks of one shape (Z, Y, X)",
        )


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around a mask, and a voxel more on each side; all of it where the mask is empty.

    Without that voxel, a mask that fills one slice of a volume would look like a picture, where that axis has no
    neighbours.
    """
    boxes = ndimage.find_objects(mask.view(np.uint8))
    if not boxes:
        return (slice(None),) * mask.ndim
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in boxes[0])
