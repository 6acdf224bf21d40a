"""From label values to classes and back; and what stands in label files in practice."""

from __future__ import annotations

import io
import json
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from masg_sam.data.labels import IGNORED, LabelMap, fit_label_map
from masg_sam.data.volume import Geometry, Volume
from masg_sam.errors import ConfigError, LabelError
from masg_sam.files import parse

AFFINE = np.eye(4)


def scan(*values: int) -> Volume:
    """A label of a scan with one voxel a value."""
    data = np.array(values, np.int32).reshape(1, 1, 1, -1)
    return Volume(data, (1, 1, 1), AFFINE, Geometry("nifti", data.shape[1:], None), Path("labels/a.nii.gz"))


def mask(pixels: np.ndarray, name: str = "a.png") -> Volume:
    """A label of a picture."""
    return Volume(pixels[None, None], (1, 1, 1), None, Geometry("picture", pixels.shape, None), Path("masks") / name)


def squares(*values: int, size: int = 64) -> np.ndarray:
    """Quarters of a picture, each of one value; the rest is 0."""
    pixels = np.zeros((2 * size, 2 * size), np.uint8)
    for i, value in enumerate(values):
        y, x = divmod(i, 2)
        pixels[y * size + 5 : (y + 1) * size - 7, x * size + 3 : (x + 1) * size - 9] = value
    return pixels


def jpeg(pixels: np.ndarray, quality: int = 75) -> np.ndarray:
    """What JPEG makes of a picture."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


# --- the map ---------------------------------------------------------------------------------------------------


def test_what_nobody_labelled_is_set_apart() -> None:
    label_map, notes = fit_label_map([scan(0, 1, 3, 2)], {1: "a", 2: "b", 3: "Ignore"})
    assert (label_map.values, label_map.names, label_map.ignore, notes) == ((1, 2), ("a", "b"), 3, [])
    assert label_map.encode(scan(0, 1, 3, 2)).tolist() == [[[0, 1, IGNORED, 2]]]
    assert parse(LabelMap, json.loads(json.dumps(asdict(label_map)))) == label_map


def test_labels_of_nothing_but_the_unlabelled_are_empty() -> None:
    with pytest.raises(LabelError, match="empty"):
        fit_label_map([scan(0, 3, 3)], {1: "a", 3: "ignore"})


def test_encode_and_decode_by_hand() -> None:
    label_map = LabelMap((2, 5, 300), ("a", "b", "c"))
    encoded = label_map.encode(scan(0, 300, 2, 5, 5))
    assert encoded.dtype == np.uint8
    assert encoded.tolist() == [[[0, 3, 1, 2, 2]]]
    assert label_map.decode(encoded).tolist() == [[[0, 300, 2, 5, 5]]]
    assert label_map.num_classes == 3


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=40, unique=True), st.randoms())
def test_decode_undoes_encode(values: list[int], random: object) -> None:
    label_map = LabelMap(tuple(sorted(values)), tuple(map(str, sorted(values))))
    label = scan(0, *values)
    np.testing.assert_array_equal(label_map.decode(label_map.encode(label)), label.data[0])
    assert [label_map.class_of(value) for value in values] == label_map.encode(label)[0, 0, 1:].tolist()


def test_unknown_values_are_named_with_their_voxels() -> None:
    with pytest.raises(LabelError, match="name no class") as caught:
        LabelMap((1, 3), ("liver", "spleen")).encode(scan(0, 1, 2, 2, 3, 7, -1))
    assert caught.value.path == Path("labels/a.nii.gz")
    assert caught.value.found == "-1 (1 voxels), 2 (2 voxels), 7 (1 voxels)"
    assert caught.value.expected == "0, 1 (liver), 3 (spleen)"
    assert "dataset.json" in str(caught.value.mend) and "dseg.tsv" in str(caught.value.mend)  # BIDS has the latter


def test_unknown_values_of_an_unsigned_label() -> None:
    with pytest.raises(LabelError, match="4 "):
        LabelMap((1,), ("liver",)).encode(mask(np.array([[0, 4]], np.uint8)))


def test_at_the_threshold_is_foreground() -> None:
    label_map = LabelMap((255,), ("polyp",), 128)
    assert label_map.encode(mask(np.array([[0, 127, 128, 255]], np.uint8))).tolist() == [[[0, 0, 1, 1]]]
    assert label_map.decode(np.array([0, 1])).tolist() == [0, 255]
    assert [label_map.class_of(value) for value in (0, 127, 128)] == [0, 0, 1]


def test_a_value_of_no_class_counts_as_background() -> None:
    assert LabelMap((1, 3), ("a", "b")).class_of(2) == 0


@pytest.mark.parametrize("threshold", [None, 128])
def test_json_and_back(threshold: int | None) -> None:
    label_map = LabelMap((1, 4), ("a", "b"), threshold)
    assert parse(LabelMap, json.loads(json.dumps(asdict(label_map)))) == label_map


# --- with names ------------------------------------------------------------------------------------------------


def test_names_decide_the_classes_seen_or_not() -> None:
    label_map, notes = fit_label_map([scan(0, 2), scan(0)], {4: "b", 2: "a"})
    assert label_map == LabelMap((2, 4), ("a", "b"))
    assert notes == []


def test_a_value_without_a_name_is_refused() -> None:
    with pytest.raises(LabelError, match="name no class"):
        fit_label_map([scan(0, 2), scan(0, 3)], {2: "a"})


@pytest.mark.parametrize("names", [{}, {1: "liver"}])
def test_nothing_but_background_is_refused(names: dict[int, str]) -> None:
    with pytest.raises(LabelError, match="every label is empty"):
        fit_label_map([scan(0, 0), scan(0)], names)


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(LabelError, match="every label is empty"):
        fit_label_map([], {})


# --- without names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ((1,), ("foreground",)),
        ((7,), ("foreground",)),
        ((1, 2, 4), ("class 1", "class 2", "class 4")),
        (tuple(range(1, 33)), tuple(f"class {i}" for i in range(1, 33))),
        ((85, 170, 255), ("class 85", "class 170", "class 255")),
        ((127, 255), ("class 127", "class 255")),
    ],
)
def test_values_as_they_are(values: tuple[int, ...], names: tuple[str, ...]) -> None:
    labels = [scan(0, value) for value in values]
    assert fit_label_map(labels, {}) == (LabelMap(values, names), [])


@pytest.mark.parametrize("values", [(1, 255), (60, 128, 191, 255)])
def test_255_beside_other_values_is_told(values: tuple[int, ...]) -> None:
    label_map, (note,) = fit_label_map([scan(0, value) for value in values], {})
    assert label_map.values == values
    assert f"255 beside {values[0]}" in note and '"ignore" in dataset.json' in note


@pytest.mark.parametrize("label", [scan(0, 255), mask(squares(255)), mask(np.full((4, 4), 255, np.uint8))])
def test_0_and_255_is_one_class(label: Volume) -> None:
    label_map, notes = fit_label_map([label], {})
    assert label_map == LabelMap((255,), ("foreground",), 128)
    assert notes == ["masks hold 0 and 255: 255 is the class"]


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_a_mask_saved_as_jpeg_is_thresholded_and_said(quality: int) -> None:
    sharp = squares(255, 0, 255)
    noisy = jpeg(sharp, quality)
    assert len(np.unique(noisy)) > 8
    label_map, notes = fit_label_map([mask(noisy, "a.jpg")], {})
    assert label_map == LabelMap((255,), ("foreground",), 128)
    part = 100 * np.isin(noisy, [0, 255], invert=True).mean()
    assert f"{part:.1f} % of the pixels are neither 0 nor 255" in notes[0]
    np.testing.assert_array_equal(label_map.encode(mask(noisy))[0], sharp > 0)


def test_jpeg_noise_in_a_png_is_thresholded_too() -> None:
    assert fit_label_map([mask(jpeg(squares(255)), "a.png")], {})[0].threshold == 128


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("values", [(128, 255), (85, 170, 255), (100,)])
def test_several_classes_saved_as_jpeg_are_refused(name: str, values: tuple[int, ...]) -> None:
    with pytest.raises(LabelError, match="no class numbers") as caught:
        fit_label_map([mask(jpeg(squares(*values)), name)], {})
    assert "PNG" in str(caught.value.mend)
    assert caught.value.path == Path("masks")


def grey(parts: dict[int, float], name: str = "a.png", size: int = 100) -> Volume:
    """A picture of which each value has a part, the rest 0."""
    pixels = np.zeros(size * size, np.uint8)
    start = 0
    for value, part in parts.items():
        stop = start + round(part * len(pixels))
        pixels[start:stop] = value
        start = stop
    return mask(pixels.reshape(size, size), name)


FAINT = {1: 5e-4, 2: 5e-4, 254: 5e-4, 253: 5e-4, 126: 5e-4, 127: 5e-4, 129: 5e-4, 255: 0.3}


@pytest.mark.parametrize(
    ("label", "one_class"),
    [
        (grey(FAINT), True),
        (grey(FAINT | {128: 0.015}), False),  # a class in the middle
        (grey(FAINT | {128: 0.3}), False),
        (grey(FAINT | {value: 5e-4 for value in range(60, 200)}), False),  # a gradient
        (grey({1: 5e-4, 255: 0.3}, "a.jpg"), True),  # few values, but a JPEG
        (grey({1: 0.1, 2: 0.1}, "a.jpg"), False),  # class numbers do not survive JPEG
    ],
)
def test_grey_is_one_class_or_refused(label: Volume, one_class: bool) -> None:
    if one_class:
        assert fit_label_map([label], {})[0].threshold == 128
        return
    with pytest.raises(LabelError, match="no class numbers"):
        fit_label_map([label], {})


def test_small_classes_in_a_png_are_no_noise() -> None:
    pixels = squares(1)
    pixels[0, :9] = range(2, 11)
    assert fit_label_map([mask(pixels)], {})[0].values == tuple(range(1, 11))


@pytest.mark.parametrize("values", [range(1, 34), (-1, 1), (1, 70000)])
def test_values_that_are_no_class_numbers(values: range) -> None:
    with pytest.raises(LabelError, match="no class numbers"):
        fit_label_map([scan(0, *values)], {})


def test_black_and_white_noise_in_a_scan_is_not_guessed_at() -> None:
    """Scans are not compressed with loss: there 1 and 254 are two classes."""
    values = (1, 2, 3, 4, 251, 252, 253, 254)
    assert fit_label_map([scan(0, *values)], {})[0].values == values


@pytest.mark.parametrize("names", [{}, {1: "liver"}])
def test_labels_are_let_go_of_one_by_one(names: dict[int, str]) -> None:
    seen: list[weakref.ref[np.ndarray]] = []

    def labels() -> Iterator[Volume]:
        for i in range(5):
            assert all(label() is None for label in seen[: max(i - 1, 0)])
            volume = scan(0, 1)
            seen.append(weakref.ref(volume.data))
            yield volume
            del volume

    assert fit_label_map(labels(), names)[0].num_classes == 1
    assert len(seen) == 5


def test_classes_can_be_renamed():
    label_map = LabelMap((1, 4), ("class 1", "class 4"))
    assert label_map.renamed(None) is label_map
    assert label_map.renamed(["liver", "spleen"]) == LabelMap((1, 4), ("liver", "spleen"))


@pytest.mark.parametrize("names", [["liver"], ["liver", "spleen", "heart"], ["liver", "liver"], ["liver", " "], []])
def test_names_that_do_not_go_with_the_values(names):
    with pytest.raises(ConfigError, match=r"class_names(.|\n)*1, 4"):
        LabelMap((1, 4), ("class 1", "class 4")).renamed(names)


@pytest.mark.parametrize(("values", "kind"), [((1, 7), np.uint8), ((1, 300), np.uint16)])
def test_values_of_a_mask_take_no_more_memory_than_they_need(values: tuple[int, ...], kind: type) -> None:
    found = LabelMap(values, ("a", "b")).decode(np.array([[[0, 1, 2]]], np.uint8))
    assert found.ravel().tolist() == [0, *values] and found.dtype == kind
