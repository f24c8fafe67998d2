"""`python -m experiments.sweep`: the command `dsrna_jax sweep`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.process import execute
from dsrna_jax.commands.sweep import main

if __name__ == "__main__":
    execute(main)
