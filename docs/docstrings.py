"""A griffe extension: `Returns:` and `Raises:` open a paragraph of their own, also where they share a line with their text."""

import re

import griffe

_SECTION = re.compile(r"^(Returns|Raises): ", re.MULTILINE)


class Sections(griffe.Extension):
    """Rewrites the docstrings that the reference shows."""

    def on_instance(self, *, obj, **_):
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = _SECTION.sub(r"\n**\1:** ", obj.docstring.value)
