"""Metrics: values worked out by hand, agreement with other implementations, the rule for empty masks."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage

from masg_sam.data.io import read_label
from masg_sam.errors import GeometryError
from masg_sam.evaluation.metrics import METRICS, count_lesions, score, surface, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.625, 0.75)]
GRID = (6, 7, 8)


def boxed(shape: tuple[int, int, int], *corners: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for corner in corners:
        mask[corner] = True
    return mask


def blob(seed: int, shape: tuple[int, int, int] = (14, 24, 20)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return noise > np.percentile(noise, 85)


def as_tensor(mask: np.ndarray) -> torch.Tensor:
    """``1 x 1 x ...`` as MONAI takes it; a single slice as a picture."""
    return torch.from_numpy(mask if mask.shape[0] > 1 else mask[0])[None, None]


def monai_distances(prediction: np.ndarray, label: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    a, b = as_tensor(prediction), as_tensor(label)
    given = {"include_background": True, "spacing": list(spacing[-(a.ndim - 2) :])}
    return {
        "hd95_mm": compute_hausdorff_distance(a, b, percentile=95, **given).item(),
        "hd_mm": compute_hausdorff_distance(a, b, **given).item(),
        "surface_dice": compute_surface_dice(a, b, class_thresholds=[2.0], **given).item(),
    }


def test_overlap_by_hand():
    prediction = boxed((1, 4, 4), np.s_[0, 0:2, 0:2])  # 4 pixels
    label = boxed((1, 4, 4), np.s_[0, 0:3, 1:3])  # 6 pixels, 2 of them shared
    found = score(prediction, label, (1.0, 1.0, 1.0))
    assert (found.state, found.dice, found.iou) == ("both_present", 4 / 10, 2 / 8)
    assert (found.precision, found.recall) == (2 / 4, 2 / 6)
    assert found.relative_volume_error == pytest.approx(-1 / 3)


def test_volumes_are_millilitres():
    label = boxed((3, 10, 10), np.s_[1, 0:5, 0:4])  # 20 voxels of 2.5 x 0.5 x 2 mm
    found = score(np.zeros_like(label), label, (2.5, 0.5, 2.0))
    assert (found.prediction_ml, found.label_ml) == (0, pytest.approx(20 * 2.5 / 1000))
    assert score(label, label, (2.5, 0.5, 2.0), voxel_ml=0.002).label_ml == pytest.approx(20 * 0.002)


@pytest.mark.parametrize(("axis", "distance"), [(0, 5.0), (1, 1.0), (2, 1.5)])
def test_distances_honour_the_spacing_of_each_axis(axis, distance):
    label = boxed((9, 9, 9), np.s_[4, 4, 4])
    found = score(np.roll(label, 2, axis), label, (2.5, 0.5, 0.75))
    assert (found.hd95_mm, found.hd_mm, found.assd_mm) == pytest.approx((distance,) * 3)


def test_hd95_is_the_larger_of_two_directed_percentiles():
    label = boxed((1, 1, 32), np.s_[0, 0, 0])
    prediction = boxed((1, 1, 32), np.s_[0, 0, 0:1], np.s_[0, 0, 10:11])
    there, back = surface_distances(prediction, label, (1, 1, 1))
    assert (there.tolist(), back.tolist()) == ([0, 10], [0])
    found = score(prediction, label, (1.0, 1.0, 1.0))
    assert found.hd95_mm == pytest.approx(9.5)  # 95 % of the way from 0 to 10; the pooled one is 9
    assert score(label, prediction, (1.0, 1.0, 1.0)).hd95_mm == pytest.approx(9.5)
    assert (found.hd_mm, found.assd_mm) == (10, pytest.approx(10 / 3))


def test_tolerance_includes_its_own_distance_and_nothing_beyond():
    label = boxed((1, 1, 9), np.s_[0, 0, 0])
    prediction = boxed((1, 1, 9), np.s_[0, 0, 3])
    spacing = (1.0, 1.0, 0.7)  # 3 x 0.7 is 2.0999999999999996, and 2.1 is meant
    assert score(prediction, label, spacing, 2.1).surface_dice == 1
    assert score(prediction, label, spacing, 2.099).surface_dice == 0
    assert score(prediction, label, spacing, 2.099).boundary_f1 == 0


def test_surface_dice_and_boundary_f1_by_hand():
    label = boxed((1, 1, 20), np.s_[0, 0, 0])
    prediction = boxed((1, 1, 20), np.s_[0, 0, 1:2], np.s_[0, 0, 9:10], np.s_[0, 0, 15:16])
    found = score(prediction, label, (1.0, 1.0, 1.0), 1.0)
    assert found.surface_dice == pytest.approx(2 / 4)  # one of three voxels, and the label's one
    assert found.boundary_f1 == pytest.approx(2 * (1 / 3) * 1 / (1 / 3 + 1))


def test_surface_of_a_slice_is_its_outline():
    square = boxed((1, 5, 5), np.s_[0, 0:5, 0:5])
    assert np.argwhere(~surface(square)[0]).tolist() == [[y, x] for y in (1, 2, 3) for x in (1, 2, 3)]


def test_surface_of_one_slice_of_a_volume_is_all_of_it():
    flat = boxed((3, 5, 5), np.s_[1, 0:5, 0:5])
    assert surface(flat).sum() == 25
    found = score(flat, boxed((3, 5, 5), np.s_[1, 2, 2]), (1.0, 1.0, 1.0), 0.5)
    assert found.surface_dice == pytest.approx(2 / 26)  # the middle counts, so that axis was not cut away


def test_masks_that_touch_the_border_have_a_surface_there():
    assert surface(np.ones((4, 4, 4), bool)).sum() == 64 - 8


def test_a_single_voxel_is_its_own_surface():
    one = score(np.ones((1, 1, 1), bool), np.ones((1, 1, 1), bool), (1.0, 1.0, 1.0))
    assert (one.dice, one.hd95_mm, one.surface_dice) == (1, 0, 1)


def test_lesions_by_hand():
    label = boxed((4, 12, 12), np.s_[0, 0:2, 0:2], np.s_[0, 6:8, 6:8], np.s_[3, 10, 0:2])
    prediction = boxed((4, 12, 12), np.s_[0, 1:4, 1:4], np.s_[3, 11, 11], np.s_[2, 0, 11])
    assert count_lesions(prediction, label) == {"lesions_found": 1, "lesions_missed": 2, "lesions_false": 2}


def test_lesions_join_over_corners():
    diagonal = boxed((2, 2, 2), np.s_[0, 0, 0], np.s_[1, 1, 1])
    assert count_lesions(np.zeros_like(diagonal), diagonal)["lesions_missed"] == 1


def test_one_blob_over_two_lesions_finds_both_and_invents_none():
    label = boxed((1, 1, 9), np.s_[0, 0, 0:2], np.s_[0, 0, 6:8])
    counts = count_lesions(np.ones_like(label), label)
    assert counts == {"lesions_found": 2, "lesions_missed": 0, "lesions_false": 0}


EMPTY, FULL = np.zeros((3, 4, 4), bool), boxed((3, 4, 4), np.s_[1, 1:3, 1:3])
ZERO = {"dice", "iou", "surface_dice", "boundary_f1"}


@pytest.mark.parametrize(
    ("prediction", "label", "state", "zero", "lesions"),
    [
        (EMPTY, EMPTY, "both_empty", set(), (0, 0, 0)),
        (FULL, EMPTY, "only_prediction", ZERO | {"precision"}, (0, 0, 1)),
        (EMPTY, FULL, "missed", ZERO | {"recall"}, (0, 1, 0)),
    ],
)
def test_rule_for_empty_masks(prediction, label, state, zero, lesions):
    found = score(prediction, label, (1.0, 1.0, 1.0))
    values = {metric: getattr(found, metric) for metric in METRICS}
    assert found.state == state
    assert {metric for metric, value in values.items() if value == 0} == zero
    undefined = set(METRICS) - zero - ({"relative_volume_error"} if state == "missed" else set())
    assert {metric for metric, value in values.items() if value is None} == undefined
    assert found.relative_volume_error == (-1 if state == "missed" else None)
    assert (found.lesions_found, found.lesions_missed, found.lesions_false) == lesions


@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 3, 5)), ((3, 4), (3, 4))])
def test_masks_of_other_shapes_are_refused(shapes):
    with pytest.raises(GeometryError, match="masks cannot be compared"):
        score(np.ones(shapes[0], bool), np.ones(shapes[1], bool), (1.0, 1.0, 1.0))


def test_integers_count_as_masks_and_stay_as_they_are():
    label = FULL.astype(np.uint8)
    assert score(label * 255, label, (1.0, 1.0, 1.0)).dice == 1
    assert label.dtype == np.uint8


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_monai(seed, spacing):
    prediction, label = blob(seed), blob(seed + 100) | blob(seed)
    found, reference = score(prediction, label, spacing), monai_distances(prediction, label, spacing)
    assert {key: getattr(found, key) for key in reference} == pytest.approx(reference, rel=1e-6, abs=1e-6)
    directed = surface_distances(prediction, label, spacing)
    for (a, b), distances in zip(
        [(prediction, label), (label, prediction)], directed, strict=True
    ):  # MONAI's symmetric average is over both sets too
        monai = compute_average_surface_distance(
            as_tensor(a), as_tensor(b), include_background=True, spacing=list(spacing)
        ).item()
        assert distances.mean() == pytest.approx(monai, rel=1e-6, abs=1e-6)
    symmetric = compute_average_surface_distance(
        as_tensor(prediction),
        as_tensor(label),
        include_background=True,
        symmetric=True,
        spacing=list(spacing),
    ).item()
    assert found.assd_mm == pytest.approx(symmetric, rel=1e-6, abs=1e-6)


def test_agrees_with_monai_on_a_picture():
    prediction, label = blob(1, (1, 40, 30)), blob(2, (1, 40, 30))
    found, reference = score(prediction, label, (1, 1, 1)), monai_distances(prediction, label, (1, 1, 1))
    assert {key: getattr(found, key) for key in reference} == pytest.approx(reference, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_agrees_with_simpleitk(spacing):
    prediction, label = blob(3), blob(4)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, label)]
    edges = [sitk.GetImageFromArray(surface(mask).astype(np.uint8)) for mask in (prediction, label)]
    for image in images + edges:
        image.SetSpacing(spacing[::-1])
    overlap, distance = sitk.LabelOverlapMeasuresImageFilter(), sitk.HausdorffDistanceImageFilter()
    overlap.Execute(*images)
    distance.Execute(*edges)
    found = score(prediction, label, spacing)
    assert found.dice == pytest.approx(overlap.GetDiceCoefficient())
    assert found.iou == pytest.approx(overlap.GetJaccardCoefficient())
    assert found.hd_mm == pytest.approx(distance.GetHausdorffDistance(), rel=1e-6, abs=1e-6)


def brute_force(mask: np.ndarray) -> np.ndarray:
    """Surface voxels one by one: any of the six neighbours missing."""
    padded = np.pad(mask, 1)
    inside = np.ones_like(mask)
    for axis in range(3):
        for step in (-1, 1):
            if mask.shape[axis] > 1:
                inside &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inside


@settings(max_examples=60, deadline=None)
@given(
    arrays(bool, GRID, elements=st.booleans(), fill=st.just(False)),
    arrays(bool, GRID, elements=st.booleans(), fill=st.just(False)),
    st.sampled_from(SPACINGS),
)
def test_any_two_masks(prediction, label, spacing):
    found, other = score(prediction, label, spacing), score(label, prediction, spacing)
    for metric in ("dice", "iou", "hd95_mm", "hd_mm", "surface_dice", "boundary_f1"):
        assert getattr(found, metric) == getattr(other, metric)
    assert (found.precision, found.recall) == (other.recall, other.precision)
    if found.state != "both_present":
        return
    points = [np.argwhere(brute_force(mask)) * spacing for mask in (prediction, label)]
    distances = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    directed = [distances.min(1), distances.min(0)]
    assert found.hd95_mm == pytest.approx(max(np.percentile(d, 95) for d in directed))
    assert found.assd_mm == pytest.approx(np.concatenate(directed).mean())
    assert 0 <= found.iou <= found.dice <= 1
    assert found.hd95_mm <= found.hd_mm


def test_agrees_with_monai_on_real_labels(real_data):
    paths = sorted((real_data / "la4" / "labelsVal").glob("*.nii*"))[:2]
    for path, shift in zip(paths, ((1, 2, 3), (0, -4, 1)), strict=True):
        volume = read_label(path)
        label = volume.data[0] > 0
        prediction = np.roll(label, shift, (0, 1, 2))
        found, reference = (f(prediction, label, volume.spacing) for f in (score, monai_distances))
        assert {key: getattr(found, key) for key in reference} == pytest.approx(reference, rel=1e-6, abs=1e-6)
