"""The processes of a run find each other, or say who is missing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from ....errors import SetupError, UsageError
from ..progress import tell

SECONDS = "UNROLLED_WAIT"
_DEFAULT = 600.0


def meet(trainer: Trainer) -> None:
    """Have a run's processes wait for each other with a line, and no longer than is asked for.

    Under torchrun they have met already. Lightning would wait in silence, for half an hour, and
    no Ctrl-C would end it.

    Args:
        trainer: The trainer; its strategy connects the processes when it starts.
    """
    strategy = trainer.strategy
    elastic = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if trainer.world_size > 1 and isinstance(strategy, DDPStrategy | FSDPStrategy) and not elastic:
        connect: Callable[[], None] = strategy.setup_environment

        def wait_and_connect() -> None:
            strategy.set_world_ranks()
            _wait(trainer, strategy)
            connect()

        strategy.setup_environment = wait_and_connect  # type: ignore[method-assign]


def seconds() -> float:
    """Return how long the processes wait for each other.

    Raises:
        UsageError: The environment says something else than a number of seconds.
    """
    given = os.environ.get(SECONDS)
    try:
        found = float(given) if given else _DEFAULT
    except ValueError:
        found = -1.0
    if not 0 < found < 1e7:
        raise UsageError(f"{SECONDS} is {given!r}; it has to be a number of seconds.")
    return found


def _unreachable(address: str, port: int) -> OSError | None:
    """Return why the first process can't be reached; torch would ask on where no Ctrl-C reaches."""
    try:
        socket.create_connection((address, port), timeout=2.0).close()
    except OSError as error:
        return error
    return None


def _wait(trainer: Trainer, strategy: DDPStrategy | FSDPStrategy) -> None:
    """Wait for the others, and connect with them as Lightning would, which then finds it done."""
    if distributed.is_initialized():
        return
    environment, limit = strategy.cluster_environment, seconds()
    assert environment is not None
    address, port = environment.main_address, environment.main_port
    rank, everyone = trainer.global_rank, trainer.world_size
    if trainer.num_nodes > 1:
        tell(
            f"waiting at {address}:{port} for {everyone} processes on {trainer.num_nodes} machines,"
            f" at most {limit:.0f} s ({SECONDS})"
        )
    until = time.monotonic() + limit
    try:
        while rank and (unreachable := _unreachable(address, port)):
            if time.monotonic() > until:
                raise unreachable
            time.sleep(0.2)
        store = TCPStore(
            address,
            port,
            everyone,
            is_master=rank == 0,
            timeout=timedelta(seconds=limit),
            wait_for_workers=False,
        )
    except Exception as error:  # torch's own kinds
        raise SetupError(
            f"process {rank} of {everyone} could not reach the first at {address}:{port} within "
            f"{limit:.0f} s ({SECONDS}): {str(error).splitlines()[0]}\nStart it there, or set "
            "MASTER_ADDR and MASTER_PORT alike on all machines."
        ) from error
    store.set(f"here/{rank}", "")
    missing = list(range(everyone))
    while missing := [other for other in missing if not store.check([f"here/{other}"])]:
        if time.monotonic() > until:
            shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            raise SetupError(
                f"after {limit:.0f} s ({SECONDS}) {len(missing)} of {everyone} processes are "
                f"missing at {address}:{port}: ranks {shown}.\nStart the command on every machine, "
                "with NODE_RANK 0, 1, ... and the same MASTER_ADDR and MASTER_PORT, or with "
                "torchrun."
            )
        time.sleep(0.1)
    backend = strategy._get_process_group_backend()
    distributed.init_process_group(
        backend,
        store=PrefixStore("run", store),
        rank=rank,
        world_size=everyone,
        timeout=strategy._timeout or distributed.default_pg_timeout,
    )
