"""`python -m experiments.certify`: the command `dsrna_jax certify`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.certify import main
from dsrna_jax.commands.process import execute

if __name__ == "__main__":
    execute(main)
