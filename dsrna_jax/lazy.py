"""Lazy attributes of a package (PEP 562): a name is imported at its first access, so importing the package stays cheap."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dsrna_jax.extras import packages_for


def attach(package: str, public: Sequence[str], homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

    Args:
      package: its `__name__`.
      public: its `__all__`; a name that is in neither `homes` nor the package's own code is a submodule.
      homes: the module to import for a name, relative to the package: `"genotypes.zoo"` for the module itself,
        `"measures.jacobian:jacobian_norm"` for one of its attributes. Such a name must not also be that of a submodule:
        importing the submodule would put it in the name's place.

    The first raises AttributeError for a name that is not public, and AbsentPackageError if a package of an extra is missing.
    """

    def resolve(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes.get(name, name).partition(":")
        with packages_for(f"{package}.{name}"):
            home = importlib.import_module(f"{package}.{module}")
        return getattr(home, attribute) if attribute else home

    def listing() -> list[str]:
        return sorted(public)

    return resolve, listing
