"""`python -m experiments.verify`: the command `dsrna_jax verify`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.process import execute
from dsrna_jax.commands.verify import main

if __name__ == "__main__":
    execute(main)
