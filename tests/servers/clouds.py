"""Emulators of Google Cloud Storage and Azure Blob Storage, each with its data in memory.

They show what the clients gcsfs and adlfs do, not what the clouds do. `gcp-storage-emulator` ignores
create-if-absent (`ifGenerationMatch=0`), Azurite honours it (`If-None-Match: *`). `make clouds`
installs both.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from .process import BUCKET, Server, find_program, free_ports, running, wait_for_answer

__all__ = ["azure", "azure_options", "gcs", "gcs_options"]

# The emulator cuts a name at ";": its urlparse takes the rest for parameters, which urlsplit does not.
_GCS = """
import sys, urllib.parse
from gcp_storage_emulator import __main__, server
server.urlparse = urllib.parse.urlsplit
__main__.main(sys.argv[1:])
"""

# Azurite's published account: https://github.com/Azure/Azurite#default-storage-account
_ACCOUNT = "devstoreaccount1"
_ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def gcs_options(address: str) -> dict[str, str]:
    """Return the storage options that reach a server in the place of Google's."""
    return {"endpoint_url": address, "token": "anon", "project": "test"}


def azure_options(address: str) -> dict[str, str]:
    """Return the storage options that reach a server in the place of Azure's."""
    account = f"AccountName={_ACCOUNT};AccountKey={_ACCOUNT_KEY}"
    return {
        "connection_string": f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={address}/{_ACCOUNT};"
    }


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[Server]:
    """Run `gcp-storage-emulator`: it ignores create-if-absent."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", _GCS, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]
    log, endpoint = folder / "server.log", f"http://127.0.0.1:{port}"
    with running([*command, f"--default-bucket={BUCKET}"], log) as process:
        wait_for_answer(f"{endpoint}/storage/v1/b/{BUCKET}", process, log)
        options = gcs_options(endpoint)
        environment = {"STORAGE_EMULATOR_HOST": endpoint, "FSSPEC_GS_TOKEN": "anon"}
        yield Server("gcs", endpoint, process.pid, False, options, environment, scheme="gs")


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[Server]:
    """Run Azurite: it honours create-if-absent."""
    from azure.storage.blob import BlobServiceClient

    (port,) = free_ports(1)
    command = [find_program("azurite-blob"), "--inMemoryPersistence", "--silent", "--disableTelemetry"]
    command += ["--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    log, endpoint = folder / "server.log", f"http://127.0.0.1:{port}/{_ACCOUNT}"
    options = azure_options(f"http://127.0.0.1:{port}")
    connection = options["connection_string"]
    with running(command, log) as process:
        wait_for_answer(endpoint, process, log)
        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container(BUCKET)
        environment = {"AZURE_STORAGE_CONNECTION_STRING": connection}
        yield Server(
            "azure",
            endpoint,
            process.pid,
            True,
            options,
            environment,
            scheme="abfs",
        )
