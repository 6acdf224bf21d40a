"""A series from a PACS and results back to it, through DICOMweb (PS3.18: QIDO-RS, WADO-RS, STOW-RS)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from masg_sam.data.address import FORM, UID, Address
from masg_sam.data.io.dicom.headers import NO_IMAGES
from masg_sam.data.io.kinds import is_dicom_file
from masg_sam.data.layouts import Case
from masg_sam.errors import OutputError, ServerError

SECONDS = (5, 60)  # until a connection stands, and until the next byte comes
NOT_DICOMWEB = (
    *(requests.RequestException, InvalidDicomError),
    *(ValueError, KeyError, TypeError, AttributeError, EOFError),
)
AS_STORED = (("application/dicom", "*"),)  # in any transfer syntax: nothing is decompressed for us


class Server:
    """A DICOMweb service.

    Args:
        address: of what is wanted from it.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client = _client(address)

    @contextmanager
    def retrieve(self) -> Iterator[Case]:
        """The one image series of the study, or the series chosen, in a temporary folder, as long as the block runs.

        Yields:
            A case of the name of its SeriesInstanceUID.

        Raises:
            ServerError: no server, no access, no such study or series, several series.
        """
        uid = self._choose()
        with tempfile.TemporaryDirectory(prefix="masg-sam-") as temporary:
            folder = Path(temporary, uid)
            folder.mkdir()
            with self._asking(f"series {uid}"):
                found = self._client.iter_series(self.address.study, uid, media_types=AS_STORED)
                for number, dataset in enumerate(found):
                    dataset.save_as(folder / f"{number:06d}.dcm")
            yield Case(uid, (folder,), None, source=self.address.of_series(uid))

    def store(self, path: Path) -> None:
        """Send a DICOM file to the study.

        Raises:
            OutputError: it is no DICOM, as the mask of a picture.
            ServerError: it was not stored.
        """
        if not is_dicom_file(path):
            mend = "leave out --store"
            raise OutputError("only DICOM can be stored; a picture's mask is none", path=path, mend=mend)
        dataset = dcmread(path)
        with self._asking(f"to store {path.name}"):
            answer = self._client.store_instances([dataset], self.address.study)
        failed = answer.get("FailedSOPSequence") if answer is not None else None
        if failed:
            raise ServerError(
                "the server did not store the result",
                path=str(self.address),
                found=f"failure reason {failed[0].get('FailureReason')}",
                mend=f"see the server's log; the file is {path}",
            )

    def _choose(self) -> str:
        with self._asking(f"study {self.address.study}"):
            answers = self._client.search_for_series(
                self.address.study, fields=["SeriesDescription", "NumberOfSeriesRelatedInstances"]
            )
            found = [Dataset.from_json(answer) for answer in answers]
            if not all(re.fullmatch(UID, str(one.SeriesInstanceUID), re.ASCII) for one in found):
                raise ValueError("a SeriesInstanceUID that is none")  # it becomes the name of a folder
        if not found:
            raise self._missing(f"study {self.address.study}", "no series")
        images = [one for one in found if str(one.get("Modality")) not in NO_IMAGES]
        wanted = [one for one in images if self.address.series in (None, str(one.SeriesInstanceUID))]
        if len(wanted) == 1:
            return str(wanted[0].SeriesInstanceUID)
        raise self._not_one(wanted or images, len(wanted))

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turn what goes wrong on the way into an error that says whether server, access or data are at fault."""
        try:
            yield
        except requests.HTTPError as error:
            raise self._refused(cast(requests.Response, error.response), what) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise ServerError(
                "no answer from the server",
                path=self.address.service,
                found=type(error).__name__,
                mend="check host and port, and that it speaks "
                + ("HTTPS" if self.address.scheme == "dicomwebs" else "HTTP (dicomwebs:// is for HTTPS)"),
            ) from error
        except NOT_DICOMWEB as error:
            raise ServerError(
                "an answer that is not DICOMweb",
                path=self.address.service,
                found=f"{type(error).__name__} when asked for {what}",
                expected=FORM,
                mend="check the path of the service before /studies/",
            ) from error

    def _refused(self, response: requests.Response, what: str) -> ServerError:
        status = response.status_code
        if status == requests.codes.not_found:
            return self._missing(what, "HTTP 404")
        if status in (requests.codes.unauthorized, requests.codes.forbidden):
            who = "the user of the address" if self.address.user else "no user in the address"
            problem, mend = "the server refuses access", "write USER:PASSWORD@ before the host, or an entry in ~/.netrc"
            return ServerError(problem, path=self.address.service, found=f"HTTP {status}, {who}", mend=mend)
        problem, found = f"the server failed when asked for {what}", f"HTTP {status} {response.reason}"
        return ServerError(problem, path=self.address.service, found=found, mend="see the server's log")

    def _missing(self, what: str, found: str) -> ServerError:
        return ServerError(
            f"the server does not have {what}", path=self.address.service, found=found, mend="check the identifiers"
        )

    def _not_one(self, found: list[Dataset], wanted: int) -> ServerError:
        listed = "".join(f"\n    {_about(one)}" for one in found) or "no series of images"
        problem = f"{wanted} image series in the study" if wanted else "no such image series in the study"
        mend = f"choose one: {self.address.of_series(str(found[0].SeriesInstanceUID))}" if found else None
        return ServerError(problem, path=str(self.address), found=listed, expected="one", mend=mend)


def _about(series: Dataset) -> str:
    count = series.get("NumberOfSeriesRelatedInstances")
    about = f"{series.get('Modality')}, {series.get('SeriesDescription') or 'no description'}"
    return f"{series.SeriesInstanceUID}: {about}" + (f", {count} images" if count is not None else "")


def _client(address: Address) -> DICOMwebClient:
    session = requests.Session()
    session.auth = address.user
    client = DICOMwebClient(address.service, session=session, timeout=SECONDS)
    client.set_http_retry_params(retry=False)
    return client
