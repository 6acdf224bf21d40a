"""A check as people and programs see it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from masg_sam.data.check import examine_folder
from masg_sam.data.check.show import to_json, to_text


def test_json_has_cases_and_findings(make_dataset: Callable[..., Path]) -> None:
    data = make_dataset(classes=2)
    (data / "labelsTr" / "case1.nii.gz").write_bytes(b"x")
    shown = json.loads(json.dumps(to_json(examine_folder(data)), allow_nan=False))
    assert (shown["layout"], shown["ok"], shown["modality"]) == ("nnunet", False, "MRI")
    assert shown["classes"] == {"organ 1": 1, "organ 2": 2}
    first = shown["cases"][0]
    assert (first["case"], first["shape"], first["spacing_mm"], first["channels"]) == (
        "case0", [6, 36, 40], [2.0, 1.0, 1.0], 1
    )  # fmt: skip
    assert all(count > 100 for count in first["voxels"].values()) and len(first["voxels"]) == 2
    (finding,) = shown["findings"]
    assert finding.keys() == {"level", "case", "message", "advice"}
    assert (finding["level"], finding["case"]) == ("error", "case1")


def test_the_table_has_a_row_a_case_and_the_findings_below(make_dataset: Callable[..., Path]) -> None:
    data = make_dataset(cases=3)
    (data / "imagesTr" / "case1_0000.nii.gz").write_bytes(b"x")
    (data / "labelsTr" / "[bold]case9.nii.gz").write_bytes(b"x")  # no mark-up, and no image
    console = Console(file=io.StringIO(), width=400)
    console.print(to_text(examine_folder(data)))
    text = console.file.getvalue()
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 4 and "6 x 36 x 40" in rows[1] and "2 x 1 x 1" in rows[1] and "organ 1" in rows[1]
    assert any("case1" in row and "–" in row and "1 error" in row for row in rows)
    assert "[bold]case9" in text and "add it, or take the label out" in text
    assert text.rstrip().endswith("4 cases: 3 errors")
