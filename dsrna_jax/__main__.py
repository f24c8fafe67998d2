"""`python -m dsrna_jax`: the console command."""

from dsrna_jax.commands.console import run

if __name__ == "__main__":
    run()
