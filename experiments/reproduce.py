"""`python -m experiments.reproduce`: the command `dsrna_jax reproduce`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.process import execute
from dsrna_jax.commands.reproduce import main

if __name__ == "__main__":
    execute(main)
