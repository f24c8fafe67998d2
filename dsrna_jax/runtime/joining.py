"""The start of a run in several processes: they find each other and compare their versions, and JAX joins their devices."""

import importlib.metadata
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

import dsrna_jax
from dsrna_jax.errors import InputError, shown
from dsrna_jax.runtime.links import Link
from dsrna_jax.runtime.processes import Coordinator, Processes, Worker, become, current
from dsrna_jax.runtime.program_cache import sources

AUTO = "auto"  # in place of an address: that of Slurm, Open MPI or Kubernetes
TIMEOUT = 300.0  # seconds in which all processes must come
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def join(address: str, count: int = 0, index: int = -1, timeout: float = TIMEOUT) -> Processes:
    """Joins the `count` processes of a run, of which this is number `index`; call it before any computation.

    Process 0 listens at `address` until all others have come. JAX's own service gets a port that is free there; it would end the
    process without a word if one did not come.

    Args:
      address: HOST:PORT of process 0, or "auto" for that of the cluster; then `count` and `index` are not needed.
    Raises: InputError if an argument is wrong, if processes do not come, or if they differ in versions or environment. With
      "auto", where they do not come, it ends the process instead, with a line and status 1.
    """
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM, which `signals` handles
    if address == AUTO:
        _join_cluster(timeout)
        return joined()
    host, port = _parsed(address)
    if not 0 <= index < count:
        raise InputError(f"process_id={index}: expected 0 to num_processes - 1, and num_processes={count} is their number")
    if count == 1:
        return current()
    if index == 0:
        with _listening(host, port) as server:
            processes = _gathered(server, count, timeout)
    else:
        processes = _following([host], port, index, count, timeout)
    become(processes)
    processes.agree("version", _versions())
    with _listening(host, 0) as server:
        free = server.getsockname()[1]
    service = f"{address.rpartition(':')[0]}:{processes.decided(free)}"
    jax.distributed.initialize(service, count, index, initialization_timeout=int(timeout))
    return processes


def joined() -> Processes:
    """The processes of this run; connects them first if JAX has been joined by `jax.distributed.initialize` itself."""
    if current().count > 1 or not jax.distributed.is_initialized() or jax.process_count() == 1:
        return current()
    index, count = jax.process_index(), jax.process_count()
    with _listening("", 0) as server:
        here = f"{secrets.token_hex(8)} {server.getsockname()[1]} {socket.gethostname()} {socket.getfqdn()}".encode()
        place = np.zeros(1024, np.uint8)
        place[: len(here)] = np.frombuffer(here, np.uint8)
        token, port, *hosts = bytes(multihost_utils.broadcast_one_to_all(place)).rstrip(b"\0").decode().split()
        if index == 0:
            processes = _gathered(server, count, TIMEOUT, token)
        else:
            processes = _following(hosts, int(port), index, count, TIMEOUT, token)
    become(processes)
    processes.agree("version", _versions())
    return processes


def _join_cluster(timeout: float) -> None:
    """Lets JAX find the cluster and join its processes; ends this one with a line if others do not come.

    JAX would abort it then, so that it gets longer. Raises: InputError without a cluster.
    """
    watch = threading.Timer(timeout, _end_alone, (timeout,))
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(initialization_timeout=int(timeout) + 60)
    except ValueError:
        raise InputError(
            "coordinator_address=auto: no cluster is detected here; give HOST:PORT of process 0, num_processes and process_id"
        ) from None
    finally:
        watch.cancel()


def _end_alone(timeout: float) -> None:
    print(
        f"error: coordinator_address=auto: not all processes of the cluster's job came within {timeout:.0f} s: start the same "
        "command in each, or give a longer join_timeout",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _parsed(address: str) -> tuple[str, int]:
    """Host and port. Raises: InputError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"coordinator_address={shown(address)}: expected HOST:PORT of process 0, such as 10.0.0.1:12345, or {AUTO}"
        )
    return host.strip("[]"), int(port)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens at that port; of this host alone if `host` says so. Raises: InputError if it cannot."""
    try:
        if host in _LOOPBACK:
            return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise InputError(
            f"coordinator_address={host}:{port}: process 0 cannot listen there ({error.strerror}): give a port that is free"
        ) from None


def _gathered(server: socket.socket, count: int, timeout: float, token: str = "") -> Coordinator:
    """Process 0, once all others have come to `server`. Raises: InputError, after which those that have come exit."""
    links: list[Link] = []
    places, hosts, deadline = {}, {}, time.monotonic() + timeout
    try:
        while missing := sorted({*range(1, count)} - set(places)):
            server.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                link = Link(server.accept()[0])
            except TimeoutError:
                raise InputError(
                    f"process {', '.join(map(str, missing))} of {count} did not come within {timeout:.0f} s: start all "
                    "with the same coordinator_address and num_processes, or give a longer join_timeout"
                ) from None
            hello = link.receive() or {}
            if hello.get("token") != token:
                link.close()
                continue
            index, host = hello["index"], hello["host"]
            links.append(link)
            if hello["count"] != count:
                raise InputError(f"a process on {host} was started with num_processes={hello['count']}, process 0 with {count}")
            if index not in missing:
                other = hosts.get(index, socket.gethostname())
                raise InputError(f"process_id={index} was given to two processes, on {other} and on {host}")
            places[index], hosts[index] = link, host
    except InputError:
        for link in links:
            link.send(exit=1)
        raise
    return Coordinator([places[i] for i in range(1, count)], [hosts[i] for i in range(1, count)])


def _following(hosts: Sequence[str], port: int, index: int, count: int, timeout: float, token: str = "") -> Worker:
    """A process other than 0, once it has found process 0 at one of those hosts. Raises: InputError."""
    deadline, reason = time.monotonic() + timeout, ""
    while time.monotonic() < deadline:
        for host in hosts:
            try:
                link = Link(socket.create_connection((host, port), timeout=5))
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            link.send(token=token, index=index, count=count, host=socket.gethostname())
            return Worker(link, index, count)
        time.sleep(0.2)
    raise InputError(
        f"coordinator_address={hosts[0]}:{port}: no process 0 answered there within {timeout:.0f} s ({reason}): start it there, "
        "or give another address or a longer join_timeout"
    )


def _versions() -> dict[str, Any]:
    """Versions and settings that all processes must have alike, so that they compute the same programs."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    config: Any = jax.config
    return {"dsrna_jax": dsrna_jax.__version__, "sources": sources(), **versions, "x64": config.jax_enable_x64}
