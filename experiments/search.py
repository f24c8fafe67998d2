"""`python -m experiments.search`: the command `dsrna_jax search`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.process import execute
from dsrna_jax.commands.search import main

if __name__ == "__main__":
    execute(main)
