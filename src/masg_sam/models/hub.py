"""Files from a Hugging Face hub: the local cache first, then the network, and quick advice when there is none."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from masg_sam.errors import WeightsError

CONNECT_SECONDS = 3.0


def fetch_file(hub_id: str, name: str) -> Path:
    """One file of a repository.

    Args:
        hub_id: ``owner/name``.
        name: path of the file in the repository.

    Raises:
        WeightsError: it is in neither the cache nor the network, said within seconds.
    """
    return Path(
        _cached_or_fetched(
            hub_id,
            lambda local: hf_hub_download(hub_id, name, local_files_only=local, etag_timeout=CONNECT_SECONDS),
        )
    )


def fetch_folder(hub_id: str, patterns: tuple[str, ...]) -> Path:
    """The files of a repository that match one of the patterns, in one folder.

    Raises:
        WeightsError: as for :func:`fetch_file`.
    """
    return Path(
        _cached_or_fetched(
            hub_id,
            lambda local: snapshot_download(
                hub_id,
                allow_patterns=list(patterns),
                local_files_only=local,
                etag_timeout=CONNECT_SECONDS,
            ),
        )
    )


def _cached_or_fetched(hub_id: str, get: Callable[[bool], str]) -> str:
    try:
        return get(True)
    except (LocalEntryNotFoundError, FileNotFoundError):
        pass
    except ValueError as error:  # huggingface_hub refuses malformed ids so
        raise WeightsError("not a hub id", path=hub_id, found=error, expected="owner/name") from error
    if not _reachable():
        raise WeightsError(
            f"the model hub does not answer, and {hub_id} is not in the local cache",
            expected=f"{constants.ENDPOINT} within {CONNECT_SECONDS:.0f} s",
            mend="fetch it on a machine with a network and give the folder or file instead of the id",
        )
    try:
        return get(False)
    except Exception as error:  # its client's own, and those of answers that are none of a hub: a proxy's, a login page
        raise WeightsError(
            f"{hub_id} could not be fetched from the model hub",
            found=next(iter(str(error).splitlines()), type(error).__name__),
            mend="check the id and your access to it, and the proxy if there is one, or give a local folder or file",
        ) from error


def _reachable() -> bool:
    """Whether a connection to the hub opens at all; with a proxy that is for the proxy to say."""
    if constants.HF_HUB_OFFLINE:
        return False
    parts = urlsplit(constants.ENDPOINT)
    if parts.scheme in getproxies():
        return True
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
