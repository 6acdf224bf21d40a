"""The whole way through a PACS: Orthanc, started by the test, on a port and in a folder of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import dicom_files
import highdicom as hd
import nibabel as nib
import numpy as np
import orthanc
import pytest
import torch
from pydicom import dcmread
from pydicom.uid import generate_uid
from support import masg_sam

from masg_sam import api
from masg_sam.config import Config
from masg_sam.data.address import parse_address
from masg_sam.data.dicomweb import Server
from masg_sam.data.labels import LabelMap
from masg_sam.data.task import Task
from masg_sam.errors import ServerError
from masg_sam.models.checkpoint import TrainedModel, save_model
from masg_sam.models.masg_sam import MasgSamNetwork
from masg_sam.models.sam.weights import build_sam

LOGIN = f"{orthanc.USER}:{quote(orthanc.PASSWORD, safe='')}@"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    if reason := orthanc.missing():
        pytest.skip(reason)
    with orthanc.running(tmp_path_factory.mktemp("pacs") / "orthanc") as server:
        yield server


@pytest.fixture
def run(small: Config, make_task: Callable[..., Task], tmp_path: Path) -> Path:
    """A model with random weights: it finds something everywhere, the same each time."""
    torch.manual_seed(0)
    sam = build_sam(small.model.encoder)
    network = MasgSamNetwork(small.model, sam, 2, 3, torch.randn(2, 12)).eval()
    task = make_task(2, labels=LabelMap((1, 2), ("Liver", "left kidney")))
    save_model(TrainedModel(network, task, small, sam.architecture, {"weights": sam.source}), tmp_path / "run")
    return tmp_path / "run"


def series(folder: Path, study: str, **attributes: object) -> Path:
    """An oblique series of a patient, as a scanner would send it."""
    stack = dicom_files.voxels((6, 40, 36))
    files = dicom_files.slices(
        stack,
        directions=dicom_files.OBLIQUE,
        StudyInstanceUID=study,
        SeriesInstanceUID=generate_uid(),
        FrameOfReferenceUID=generate_uid(),
        PatientID="p-1",
        PatientName="Doe^Jane",
        **attributes,
    )
    return dicom_files.write_series(folder, files)


def upload(pacs: orthanc.Orthanc, folder: Path) -> str:
    for file in sorted(folder.iterdir()):
        pacs.upload(file)
    return str(dcmread(file).SeriesInstanceUID)


def test_there_and_back(pacs: orthanc.Orthanc, run: Path, tmp_path: Path) -> None:
    study = generate_uid()
    uid = upload(pacs, series(tmp_path / "scan", study))
    address = f"dicomweb://{LOGIN}127.0.0.1:{pacs.port}/dicom-web/studies/{study}"
    predicted = masg_sam("predict", run, address, "--out", tmp_path / "masks", "--store")
    assert predicted.returncode == 0, predicted.stderr
    record = json.loads(predicted.stdout)
    assert record["case"] == uid and record["file"] == f"{uid}.seg.dcm"
    assert record["images"] == [f"{address.replace(LOGIN, '')}/series/{uid}"]
    written = "".join(path.read_text() for path in (tmp_path / "masks").glob("*.json*"))
    for secret in (orthanc.PASSWORD, quote(orthanc.PASSWORD, safe="")):
        assert secret not in predicted.stdout + predicted.stderr + written

    (stored,) = pacs.files("SEG")
    segmentation = hd.seg.segread(io.BytesIO(stored))
    assert segmentation.PatientName == "Doe^Jane" and segmentation.StudyInstanceUID == study
    assert [item.SegmentLabel for item in segmentation.SegmentSequence] == ["Liver", "left kidney"]
    list(api.predict(run, tmp_path / "scan", tmp_path / "plain", mask_format="nifti"))
    plain = nib.load(tmp_path / "plain" / "scan.nii.gz")
    order = sorted(
        (dcmread(file) for file in (tmp_path / "scan").iterdir()), key=lambda one: one.ImagePositionPatient[2]
    )
    found = segmentation.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in order],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    expected = np.asarray(plain.dataobj).astype(int).transpose(2, 1, 0)
    assert np.array_equal(found, expected) and set(np.unique(found)) == {0, 1, 2}
    counts = np.bincount(found.ravel(), minlength=3)[1:].tolist()
    assert record["voxels"] == dict(zip(["Liver", "left kidney"], counts, strict=True))

    # The stored result is no image series: the study can be predicted again.
    (again,) = api.predict(run, address, tmp_path / "again", mask_format="rtstruct")
    assert again.voxels == record["voxels"] and again.images == record["images"]
    assert dcmread(tmp_path / "again" / f"{uid}.rtstruct.dcm").StudyInstanceUID == study and len(pacs.files("SEG")) == 1


def test_what_the_server_does_not_have(pacs: orthanc.Orthanc, tmp_path: Path) -> None:
    study = generate_uid()
    service = f"127.0.0.1:{pacs.port}/dicom-web"
    first = upload(pacs, series(tmp_path / "a", study, SeriesDescription="T1 native"))
    second = upload(pacs, series(tmp_path / "b", study, SeriesDescription="T2"))

    def refused(address: str) -> str:
        with pytest.raises(ServerError) as caught, Server(parse_address(address)).retrieve():
            pass
        assert orthanc.PASSWORD not in str(caught.value)
        return str(caught.value)

    several = refused(f"dicomweb://{LOGIN}{service}/studies/{study}")
    assert "2 image series" in several and all(word in several for word in (first, second, "T1 native", "6 images"))
    assert "HTTP 401" in refused(f"dicomweb://{service}/studies/{study}")
    assert "does not have study 1.2.3" in refused(f"dicomweb://{LOGIN}{service}/studies/1.2.3")
    assert "no such image series" in refused(f"dicomweb://{LOGIN}{service}/studies/{study}/series/1.2.3")
    assert "HTTPS" in refused(f"dicomwebs://{LOGIN}{service}/studies/{study}")
    assert "HTTP 404" in refused(f"dicomweb://{LOGIN}127.0.0.1:{pacs.port}/elsewhere/studies/{study}")
    with Server(parse_address(f"dicomweb://{LOGIN}{service}/studies/{study}/series/{second}")).retrieve() as case:
        assert case.name == second and len(list(case.images[0].iterdir())) == 6
    assert not case.images[0].exists()
