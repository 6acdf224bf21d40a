"""An Orthanc of our own, a PACS with DICOMweb, for the tests that talk to one."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
SECONDS = 30  # for it to start, and to stop
USER, PASSWORD = "reader", "s3cret word@"


def missing() -> str | None:
    """Why there can be no Orthanc here; ``None`` if there can."""
    if shutil.which("Orthanc") is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)"
    return None if _plugin() else "Orthanc's plugin for DICOMweb is not installed (Debian: orthanc-dicomweb)"


@dataclass(frozen=True)
class Orthanc:
    """A server that runs.

    Attributes:
        port: of HTTP, on the loopback interface.
    """

    port: int

    def upload(self, path: Path) -> None:
        self.ask("POST", "instances", data=path.read_bytes())

    def ask(self, method: str, place: str, **options: Any) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}/{place}"
        answer = requests.request(method, url, auth=(USER, PASSWORD), timeout=SECONDS, **options)
        answer.raise_for_status()
        return answer

    def files(self, modality: str) -> list[bytes]:
        """The stored files of a modality."""
        query = {"Level": "Instance", "Query": {"Modality": modality}}
        found = self.ask("POST", "tools/find", json=query).json()
        return [self.ask("GET", f"instances/{one}/file").content for one in found]


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """Start one with its own settings and storage in ``folder``; only that process is stopped again."""
    folder.mkdir()
    port, other = _free_ports()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomPort": other,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(_plugin())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
        try:
            server = Orthanc(port)
            _wait(server, process, folder / "log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(server: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    last = time.monotonic() + SECONDS
    while True:
        try:
            server.ask("GET", "system")
            return
        except requests.RequestException as error:
            if process.poll() is not None or time.monotonic() > last:
                raise RuntimeError(f"Orthanc does not answer ({error}):\n{log.read_text()}") from error
            time.sleep(0.1)


def _plugin() -> Path | None:
    return next((file for place in PLUGINS for file in Path(place).glob("libOrthancDicomWeb.so*")), None)


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
