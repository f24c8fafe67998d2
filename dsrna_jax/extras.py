"""Packages of the extras of `pyproject.toml`: where one is missing, the error says which extra installs it."""

import contextlib
from collections.abc import Iterator

from dsrna_jax.errors import InputError

EXTRAS = {
    "matplotlib": "plots",
    "mlflow": "mlflow",
    "onnx": "onnx",
    "ray": "ray",
    "submitit": "slurm",
    "tensorboardX": "tensorboard",
    "wandb": "wandb",
}
"""The extra that installs a module; for those that are not here it is `search`."""


class AbsentPackageError(InputError, ModuleNotFoundError):
    """A package that is not installed; also a `ModuleNotFoundError`, for those who catch that."""


def absent_package(what: str, module: str) -> AbsentPackageError:
    """The error that `what` lacks a module, with the command that installs it."""
    package = module.partition(".")[0]
    extra = EXTRAS.get(package, "search")
    error = AbsentPackageError(f"{what}: the package {package} is missing: pip install 'dsrna_jax[{extra}]'")
    error.name = package
    return error


@contextlib.contextmanager
def packages_for(what: str) -> Iterator[None]:
    """A block, or a function that is decorated, that imports packages of the extras; `what` they are for begins the message.

    Raises: AbsentPackageError in place of the ModuleNotFoundError of any package but this one.
    """
    try:
        yield
    except AbsentPackageError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __package__:
            raise
        raise absent_package(what, error.name) from None
