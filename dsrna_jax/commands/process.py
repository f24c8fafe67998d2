"""What every command does around its work: the compilation cache, memory, errors as one line, the exit status."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dsrna_jax.errors import InputError, RefutedError
from dsrna_jax.runtime.signals import Stopped

_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1  # options of mallopt, in malloc.h


def status(main: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Runs `main(argv)`; its exit status: 0, 1 after an error that a person can mend, 2 after a refuted certificate, 128 + n
    after signal n."""
    try:
        main(argv)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.number
    except RefutedError as error:
        print(f"FAIL: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (InputError, FloatingPointError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except RuntimeError as error:  # XLA's, whose own class is not public
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        print(f"error: out of device memory ({reason}): give a smaller batch_size, channels or cells", file=sys.stderr)
        return 1
    return 0


def execute(main: Callable[[Sequence[str]], None]) -> None:
    """Runs `main` as the command of this process, and ends the process."""
    # Until a run takes requests to stop, there is nothing to save: Ctrl-C ends it like any other program.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's alarms that a program takes long to compile
    keep_memory()
    code = status(main, sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    # Python would wait for a compilation that may still be under way in a thread.
    os._exit(code)


def keep_memory() -> None:
    """Lets the process keep the memory that XLA's programs free, where the C library is glibc.

    Every step on a CPU takes and frees hundreds of megabytes; to get them cleared by the kernel anew was a quarter of its time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, value in (_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1):
        mallopt(option, value)


def keep_loops() -> None:
    """Has XLA unroll no loops on a CPU, if it is asked before the first program.

    A supernet's steps are then a fifth less to compile and as quick; those of a derived network are a sixth slower.
    """
    flag = "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true"
    os.environ["XLA_FLAGS"] = f"{flag} {os.environ.get('XLA_FLAGS', '')}"


def keep_compilations() -> None:
    """Lets compiled programs outlive the process: in $JAX_COMPILATION_CACHE_DIR, else in ~/.cache/dsrna_jax."""
    import jax

    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path("~/.cache/dsrna_jax").expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
