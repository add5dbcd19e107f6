"""Object-store servers for tests and benchmarks, and a proxy that injects faults before one."""

from .process import Server, find_program
from .s3 import CLOUDS, SERVERS, USUAL, azure, ceph, chosen, gcs, moto, rclone, seaweedfs

__all__ = [
    "CLOUDS",
    "SERVERS",
    "USUAL",
    "Server",
    "azure",
    "ceph",
    "chosen",
    "find_program",
    "gcs",
    "moto",
    "rclone",
    "seaweedfs",
]
