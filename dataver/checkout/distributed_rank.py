"""Rank of this process, from the variables that launchers of distributed training set.

The idea: the launcher's variables determine the shard, so users need not pass it. torchrun and compatible
launchers set `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE` and give a node consecutive ranks; Slurm
sets `SLURM_PROCID`, `SLURM_NTASKS` and lists the ranks of the node in `SLURM_GTIDS`; Open MPI has names of
its own. Without a launcher, the process is the only one.

Reads only the environment.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataver.errors import InvalidInput
from dataver.tree.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NODE", "RANK", "as_shard", "node_shard", "rank_shard"]

RANK = "rank"
NODE = "node"

_MPI = "OMPI_COMM_WORLD"
_LAUNCHERS = (  # rank, world, rank on the node, processes on the node
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
    (f"{_MPI}_RANK", f"{_MPI}_SIZE", f"{_MPI}_LOCAL_RANK", f"{_MPI}_LOCAL_SIZE"),
)


def as_shard(given: object) -> Shard | None:
    """Return the shard that an argument means; None if that is everything.

    Args:
        given: None, `(rank, world)`, `(ranks, world)`, "rank" (this process's) or "node" (that of all
            processes of this machine).

    Raises:
        InvalidInput: it is none of these, or the environment contradicts itself.
    """
    if given is None:
        return None
    found = rank_shard() if given == RANK else node_shard() if given == NODE else Shard.of(given)
    return None if found.whole else found


def rank_shard(environment: Mapping[str, str] = os.environ) -> Shard:
    """Return this process's own shard; everything without a launcher.

    Raises:
        InvalidInput: the launcher's variables contradict each other.
    """
    names = _launcher(environment)
    if names is None:
        return Shard((0,), 1)
    return Shard.of((_number(environment, names[0]), _number(environment, names[1])))


def node_shard(environment: Mapping[str, str] = os.environ) -> Shard:
    """Return the shards of all processes of this machine; this process's own if no others are known.

    Raises:
        InvalidInput: the launcher's variables contradict each other.
    """
    mine, names = rank_shard(environment), _launcher(environment)
    if names is None:
        return mine
    listed = environment.get("SLURM_GTIDS", "")
    if names[0] == "SLURM_PROCID" and listed:
        try:
            return Shard.of(([int(rank) for rank in listed.split(",")], mine.world))
        except ValueError as error:
            raise InvalidInput(f"SLURM_GTIDS is '{listed}', which lists no ranks.") from error
    if names[2] in environment and names[3] in environment:
        first = mine.ranks[0] - _number(environment, names[2])
        return Shard.of((range(first, first + _number(environment, names[3])), mine.world))
    return mine


def _launcher(environment: Mapping[str, str]) -> tuple[str, str, str, str] | None:
    for names in _LAUNCHERS:
        if names[0] in environment and names[1] in environment:
            return names
    return None


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except ValueError as error:
        raise InvalidInput(f"{name} is '{environment[name]}', which is not a number.") from error
