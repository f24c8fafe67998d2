"""A verifier whose time goes on compilation, in place of `bounds.verify`."""

import jax

from dsrna_jax import bounds


def out_of_time(monkeypatch, *, seconds, compiling, then):
    """The first call ends undecided after so many seconds, of which so many went on compilation; all others are `then`.

    Returns the list of the timeouts that are asked for.
    """
    asked = []

    def verified(*args, timeout, **options):
        asked.append(timeout)
        if len(asked) > 1:
            return then(*args, timeout=timeout, **options)
        jax.monitoring.record_event_duration_secs("/jax/core/compile/backend_compile_duration", compiling)
        return bounds.Verdict("unknown", None, "the time was over", seconds, 0)

    monkeypatch.setattr(bounds, "verify", verified)
    return asked
