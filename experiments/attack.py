"""`python -m experiments.attack`: the command `dsrna_jax attack`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.attack import main
from dsrna_jax.commands.process import execute

if __name__ == "__main__":
    execute(main)
