"""The process of a command: errors as one line, exit status, heap, XLA's options and compilation cache."""

import contextlib
import ctypes
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from dsrna_jax.errors import InputError, RefutedError
from dsrna_jax.extras import absent_package
from dsrna_jax.parent import end_with_parent
from dsrna_jax.runtime.processes import EndedError, current
from dsrna_jax.runtime.signals import Stopped

_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1  # options of mallopt, in malloc.h


def status(main: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Exit status of `main(argv)`: 0, 1 after an error of the user, 2 after a refuted certificate, 128 + n after signal n.

    Such errors are printed as one line. Of the processes of a run all get the status, and one prints.
    Raises: all other exceptions, which are defects.
    """
    code, line = 0, ""
    try:
        main(argv)
    except BaseException as error:
        outcome = _outcome(error)
        if outcome is None and isinstance(error, Exception):
            outcome = _outcome(current().cause(error))
        if outcome is None:
            raise
        code, line = outcome
    if line and current().is_first:
        with contextlib.suppress(OSError):  # standard error may be gone
            print(line, file=sys.stderr)
    current().leave(code, line)
    return code


def _outcome(error: BaseException) -> tuple[int, str] | None:
    """Exit status and line on standard error after an exception; None if it is a defect."""
    text = " ".join(str(error).split())
    if isinstance(error, Stopped):
        return 128 + error.number, str(error)
    if isinstance(error, BrokenPipeError):  # nobody reads standard output any more, as after `| head`
        return 128 + signal.SIGPIPE, ""
    if isinstance(error, EndedError):
        return error.status, text
    if isinstance(error, RefutedError):
        return 2, f"FAIL: {text}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return 1, f"error: {error.filename}: {error.strerror}"
    if isinstance(error, InputError | FloatingPointError | OSError):
        return 1, f"error: {text}"
    if isinstance(error, ModuleNotFoundError) and not (error.name or "dsrna_jax").startswith("dsrna_jax"):
        return 1, f"error: {absent_package('this command', error.name or '')}"
    if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in text:  # XLA's, whose own class is not public
        advice = "a smaller batch_size, or to a search or a training --microbatch, --remat or --precision=bfloat16"
        return 1, f"error: out of device memory ({text[:200]}): give {advice}"
    return None


def execute(main: Callable[[Sequence[str]], None]) -> None:
    """Runs `main` as the command of this process, and ends the process."""
    open_closed_streams()
    end_with_parent()
    # Until a run handles requests to stop, there is nothing to save: Ctrl-C ends the process at once.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") != "0":  # 1 and 2, which some shells set, would show XLA's alarms
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # about slow compilation
    show_notes()
    retain_heap()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # without UTF-8 in the locale, a dash would raise
    try:
        code = status(main, sys.argv)
    except Exception as error:  # a defect
        traceback.print_exc()  # before the other processes know, since they end this one
        code = 1
        current().leave(code, f"a defect, which it reports itself: {type(error).__name__}")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Without waiting for threads, in which a compilation may still run.
    os._exit(code)


def open_closed_streams() -> None:
    """Opens the null device in place of standard streams that are closed, as by `>&-`.

    Files that are opened later would get their numbers, and the output of libraries.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def show_notes() -> None:
    """Prints the log of the package on standard error, in lines that begin with "note: "."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    logger = logging.getLogger("dsrna_jax")
    logger.addHandler(handler)
    logger.propagate = False


def retain_heap() -> None:
    """Keeps freed memory in the process, in one heap, instead of returning it to the kernel, if the C library is glibc.

    Each step on a CPU allocates and frees much memory, and fresh pages from the kernel are slow.
    """
    for option, value in (_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1):
        _mallopt(option, value)


def use_many_heaps() -> None:
    """Gives threads heaps of their own, if the C library is glibc. Call before the first thread starts, and JAX is imported.

    Threads that compile wait for each other in one heap; large programs that run seldom, such as bounds, are ready sooner so.
    Steps are slower: large buffers outside of the first heap are mapped anew each time.
    """
    _mallopt(_ARENA_MAX, 8 * (os.cpu_count() or 1))  # glibc's own limit


def _mallopt(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)


def disable_loop_unrolling() -> None:
    """Disables XLA's CPU loop unrolling. Call before the first compilation.

    The steps of a supernet then compile faster and run as fast; those of a derived network run slower, so searches alone call it.
    """
    flag, given = "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling=true", os.environ.get("XLA_FLAGS", "")
    if flag not in given:  # the flags decide which compiled programs in the cache are the same
        os.environ["XLA_FLAGS"] = f"{flag} {given}"


def enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, in $JAX_COMPILATION_CACHE_DIR or else ~/.cache/dsrna_jax."""
    import jax

    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(given or "~/.cache/dsrna_jax").expanduser()
    with contextlib.suppress(OSError):  # a folder that cannot be made is not used
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not given:
            folder.chmod(0o700)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
