from __future__ import annotations

import json
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from masg_sam.data.intensity import SAM_MEAN, SAM_STD, SPAN, Intensity, fit_intensity, is_ct, thinned
from masg_sam.data.volume import Geometry, Volume
from masg_sam.files import parse


def volume(data: np.ndarray, picture: bool = False) -> Volume:
    data = np.asarray(data, np.float32)
    geometry = Geometry("array", data.shape[1:], None)
    return Volume(data, (1.0, 1.0, 1.0), None if picture else np.eye(4), geometry, Path("x"))


def ct(seed: int = 0) -> tuple[Volume, np.ndarray]:
    """Air at -1000 and an organ of about 60 HU, with one implant far beyond."""
    rng = np.random.default_rng(seed)
    data = rng.normal(-1000, 20, (1, 8, 40, 40))
    label = np.zeros((8, 40, 40), np.uint8)
    label[2:6, 10:30, 10:30] = 1
    data[0][label == 1] = rng.normal(60, 10, (label == 1).sum())
    data[0, 3, 20, 20] = 22000
    return volume(data), label


def test_colour_is_sams_normalisation() -> None:
    data = np.array([0.0, 128.0, 255.0]).reshape(3, 1, 1, 1).astype(np.float32)
    found = Intensity("colour")(data)
    expected = [(v - m) / s for v, m, s in zip((0, 128, 255), SAM_MEAN, SAM_STD, strict=True)]
    assert found.dtype == np.float32
    assert found.ravel().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "yes"), [("CT", True), (" ct ", True), ("CBCT", True), ("CTA", True), ("MRI", False), ("CTA?", False)]
)
def test_what_is_ct(name: str, yes: bool) -> None:
    assert is_ct(name) is yes


def test_kind_follows_the_modality_and_the_pictures() -> None:
    label = np.ones((1, 4, 4), np.uint8)
    rgb = volume(np.arange(48).reshape(3, 1, 4, 4), picture=True)
    grey = volume(np.arange(16).reshape(1, 1, 4, 4), picture=True)
    assert fit_intensity([(rgb, label)], "endoscopy").kind == "colour"
    assert fit_intensity([(grey, label)], "X-ray").kind == "scan"
    three = volume(np.arange(48).reshape(3, 1, 4, 4) * 100, picture=True)  # stains, say, a file each
    assert fit_intensity([(three, label)], "microscopy").kind == "scan"
    assert fit_intensity([ct()], "MRI").kind == "scan"
    assert fit_intensity([ct()], "CT").kind == "curve"


def test_a_scan_has_mean_0_and_deviation_1_over_its_own_foreground() -> None:
    rng = np.random.default_rng(0)
    data = np.zeros((1, 4, 32, 32), np.float32)
    data[:, :, 8:24, 8:24] = rng.uniform(100, 300, (1, 4, 16, 16))
    found = Intensity("scan")(data)
    inside = found[:, :, 8:24, 8:24]
    assert inside.mean() == pytest.approx(0, abs=1e-3)
    assert inside.std() == pytest.approx(1, abs=1e-3)
    assert found[0, 0, 0, 0] < inside.min()


def brain() -> np.ndarray:
    """Tissue of about 700 in zeros, as after the skull was taken off."""
    data = np.zeros((1, 8, 20, 20), np.float32)
    data[:, 2:6, 5:15, 5:15] = np.random.default_rng(0).normal(700, 80, (1, 4, 10, 10))
    return data


def test_values_below_the_background_do_not_make_it_tissue() -> None:
    """A voxel that resampling took below zero, at the border of a brain whose surroundings are zero."""
    data = brain()
    clean = Intensity("scan")(data)
    data[0, 2, 5, 5] = -3
    found = Intensity("scan")(data)
    assert np.abs(found - clean)[:, 3:6, 5:15, 5:15].max() < 0.1
    assert found[0, 2, 5, 5] == found[0, 0, 0, 0]  # clipped to the background


def test_padding_need_not_be_the_lowest_value() -> None:
    """A brain that was standardised before has half of its tissue below the zeros around it."""
    data = brain()
    tissue = data > 0
    data[tissue] = (data[tissue] - data[tissue].mean()) / data[tissue].std()
    inside = Intensity("scan")(data)[tissue]
    assert inside.mean() == pytest.approx(0, abs=0.01) and inside.std() == pytest.approx(1, abs=0.02)


def test_padding_is_no_darker_than_the_darkest() -> None:
    """Whatever number it was padded with; and zeros that are near the tissue stay what they are."""
    data = brain()
    found = Intensity("scan")(data)
    assert found.min() == pytest.approx(-3, abs=1e-6)  # zero would be at -8.8
    data[data == 0] = -32768
    assert np.array_equal(Intensity("scan")(data), found)
    near = np.where(data > 0, np.random.default_rng(0).uniform(60, 300, data.shape), 0)
    assert Intensity("scan")(near).min() == pytest.approx((0 - 180) / (240 / 12**0.5), abs=0.1)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
def test_one_voxel_of_noise_decides_nothing(sigma: float) -> None:
    """Air of whole numbers: whichever of its common values the corner has, tissue is read alike."""
    rng = np.random.default_rng(1)
    data = np.round(np.hypot(*rng.normal(0, sigma, (2, 1, 20, 40, 40)))).astype(np.float32)
    data[:, 5:15, 10:30, 10:30] = rng.normal(90, 25, (1, 10, 20, 20))
    means = []
    for value in (0, 1, 2):
        data[0, 0, 0, 0] = value
        means.append(float(Intensity("scan")(data)[:, 5:15, 10:30, 10:30].mean()))
    assert max(means) - min(means) < 1e-3


def test_background_of_nearly_one_value() -> None:
    """Splines and noise of rounding leave no two zeros alike; the tissue is read as it was."""
    data = brain()
    clean = Intensity("scan")(data)[:, 2:6, 5:15, 5:15]
    rough = data + np.random.default_rng(2).normal(0, 1e-4, data.shape).astype(np.float32)
    rough[0, 2, 4, 4] = -90
    assert np.abs(Intensity("scan")(rough)[:, 2:6, 5:15, 5:15] - clean).max() < 0.1


def test_bright_surroundings_keep_their_distance() -> None:
    """A microscope's white field: the specimen is standardised by itself, and white is brighter than all of it."""
    data = np.full((1, 1, 40, 40), 255, np.float32)
    data[0, 0, 10:30, 10:30] = np.random.default_rng(0).uniform(50, 150, (20, 20))
    found = Intensity("scan")(data)
    assert found[0, 0, 10:30, 10:30].mean() == pytest.approx(0, abs=0.01)
    assert found[0, 0, 0, 0] == pytest.approx(3) and found[0, 0, 10:30, 10:30].max() < 2
    data[0, 0, 10:30, 10:30] = 80
    assert len(np.unique(Intensity("scan")(data))) == 2  # of one value too


def test_a_scan_is_read_alike_in_any_unit() -> None:
    """MR values have none: scaled and shifted, a scan is the same input."""
    rng = np.random.default_rng(0)
    data = rng.gamma(2, 50, (1, 4, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(Intensity("scan")(data), Intensity("scan")(5 * data + 30), atol=2e-3)


def test_a_few_bright_voxels_do_not_squeeze_the_rest() -> None:
    data = np.random.default_rng(0).uniform(100, 300, (1, 4, 32, 32)).astype(np.float32)
    spiked = data.copy()
    spiked[0, 0, 0, :4] = 1e6
    plain, found = Intensity("scan")(data), Intensity("scan")(spiked)
    assert found.max() < plain.max() + 0.1
    np.testing.assert_allclose(found[0, 1:], plain[0, 1:], atol=0.05)


@pytest.mark.parametrize("value", [0.0, 7.5, -1000.0])
def test_a_constant_volume_is_finite(value: float) -> None:
    found = Intensity("scan")(np.full((2, 3, 8, 8), value, np.float32))
    assert np.isfinite(found).all() and np.abs(found).max() < 1e-3


def test_each_channel_of_a_scan_is_scaled_by_itself() -> None:
    rng = np.random.default_rng(0)
    data = np.stack([rng.normal(10, 1, (2, 16, 16)), rng.normal(5000, 800, (2, 16, 16))]).astype(np.float32)
    found = Intensity("scan")(data)
    assert found.std((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.05)


def test_a_curve_by_hand() -> None:
    """Three levels at 0, 10 and 100: linear between them, flat beyond."""
    curve = Intensity("curve", ((0.0, 10.0, 100.0),))
    data = np.array([-50.0, 0, 5, 10, 55, 100, 9999]).reshape(1, 1, 1, 7).astype(np.float32)
    expected = [-SPAN, -SPAN, -SPAN / 2, 0, SPAN / 2, SPAN, SPAN]
    assert curve(data).ravel().tolist() == pytest.approx(expected, abs=1e-6)


def test_ct_means_the_same_in_every_scan() -> None:
    fitted = fit_intensity([ct(0), ct(1)], "CT")
    data = np.array([[-1000.0, 0, 60, 3000]]).reshape(1, 1, 1, 4).astype(np.float32)
    other = np.concatenate([data, np.full_like(data, 500)], axis=3)
    np.testing.assert_array_equal(fitted(other)[..., :4], fitted(data))


def test_the_curve_of_ct_rises_and_keeps_metal_out() -> None:
    fitted = fit_intensity([ct()], "CT")
    curve = np.array(fitted.curve[0])
    assert (np.diff(curve) >= 0).all()
    assert curve[0] < -900 and curve[-1] < 200
    values = fitted(ct()[0].data)
    assert np.isfinite(values).all() and values.min() >= -SPAN - 1e-5 and values.max() <= SPAN + 1e-5


def test_the_organ_gets_contrast_that_a_window_would_not_give_it() -> None:
    fitted = fit_intensity([ct()], "CT")
    organ = fitted(np.array([40.0, 80.0], np.float32).reshape(1, 1, 1, 2)).ravel()
    low, high = fitted.curve[0][0], fitted.curve[0][-1]
    assert organ[1] - organ[0] > 2 * (2 * SPAN * 40 / (high - low))


def test_the_fit_is_the_same_every_time() -> None:
    assert fit_intensity([ct()], "CT") == fit_intensity([ct()], "CT")


def test_the_curve_needs_no_more_memory_than_its_result() -> None:
    intensity = Intensity("curve", ((-1000.0, 0.0, 100.0, 2000.0),) * 2)
    data = np.random.default_rng(0).normal(0, 500, (2, 50, 100, 100)).astype(np.float32)
    tracemalloc.start()
    found = intensity(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * found.nbytes
    levels = np.linspace(-SPAN, SPAN, 4)
    np.testing.assert_array_equal(found, np.interp(data, intensity.curve[0], levels).astype(np.float32))


def test_a_case_without_labels_is_left_out_of_the_curve() -> None:
    image, label = ct()
    nothing = volume(np.full(image.data.shape, 9000.0)), np.zeros_like(label)
    assert fit_intensity([nothing, (image, label)], "CT") == fit_intensity([(image, label)], "CT")


def test_what_nobody_labelled_is_no_class_of_the_curve() -> None:
    image, label = ct()
    marked = label.copy()
    marked[:1] = 255
    cleared = label.copy()
    cleared[:1] = 0
    assert fit_intensity([(image, marked)], "CT") == fit_intensity([(image, cleared)], "CT")


def test_a_label_that_fills_the_volume() -> None:
    image, label = ct()
    fitted = fit_intensity([(image, np.ones_like(label))], "CT")
    assert np.isfinite(fitted(image.data)).all()


@pytest.mark.parametrize("intensity", [Intensity("scan"), Intensity("curve", ((0.0, 1.5), (2.0, 3.0)))])
def test_there_and_back_through_json(intensity: Intensity) -> None:
    assert parse(Intensity, json.loads(json.dumps(asdict(intensity)))) == intensity


@pytest.mark.parametrize("depth", [8, 16, 13])
def test_a_sample_is_of_all_columns_and_rows(depth: int) -> None:
    """The stride of 512 x 512 x 16 voxels would be 512 / 32: only every sixteenth column."""
    whole = np.broadcast_to(np.arange(512), (depth, 512, 512))
    for channel in (whole, whole.transpose(0, 2, 1)):
        sample = thinned(channel, 2**18)
        assert len(np.unique(sample)) == 512
        assert sample.mean() == pytest.approx(255.5, rel=0.01) and 2**17 < len(sample) <= 2**18


def test_a_small_volume_is_its_own_sample() -> None:
    assert thinned(np.arange(24).reshape(2, 3, 4), 30).tolist() == list(range(24))


def test_one_dark_picture_of_three_greys_does_not_make_the_others_colours() -> None:
    label = np.ones((1, 4, 4), np.uint8)
    dark, bright = volume(np.full((3, 1, 4, 4), 9), picture=True), volume(np.full((3, 1, 4, 4), 900), picture=True)
    assert fit_intensity([(dark, label), (bright, label)], "X-ray").kind == "scan"
    assert fit_intensity([(dark, label), (dark, label)], "endoscopy").kind == "colour"
