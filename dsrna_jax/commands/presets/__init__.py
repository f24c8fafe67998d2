"""Named configurations of a search; flags override their fields.

python -m experiments.search --preset=NAME [--data_dir=...] [--FIELD=VALUE ...]
"""

from dsrna_jax.commands.presets import darts, dsrna, relaxed, sampled
from dsrna_jax.commands.presets.dsrna import SMOKE

__all__ = ["PRESETS", "SMOKE"]

PRESETS = dsrna.PRESETS | darts.PRESETS | relaxed.PRESETS | sampled.PRESETS
