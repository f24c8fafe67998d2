"""A griffe extension: shows the docstrings of this package, whose lists are lines `name: meaning`, as Markdown."""

import ast
import re

import griffe

_SECTION = re.compile(r"^(Returns|Raises): ", re.MULTILINE)
_ITEM = re.compile(r"^( {0,3})([a-z_][\w, ]*): (\S.*)$")


class Markdown(griffe.Extension):
    """Rewrites each docstring that the reference shows, and has it show the shapes of arrays as they are written."""

    def on_node(self, *, node, **_):
        if isinstance(node, (ast.FunctionDef, ast.AnnAssign)):
            for part in ast.walk(node):
                if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Tuple) and part.slice.elts:
                    shape = part.slice.elts[-1]
                    if isinstance(shape, ast.Constant) and isinstance(shape.value, str):
                        shape.value = f" {shape.value.strip()}"  # griffe reads "batch *image" as a product, but not with a space

    def on_instance(self, *, obj, **_):
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = lists(_SECTION.sub(r"\n**\1:** ", obj.docstring.value))


def lists(text: str) -> str:
    """Runs of lines `name: meaning`, each with its deeper-indented continuation, as bullets. Args are left to griffe."""
    out, item, is_in_arguments = [], None, False
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        is_in_arguments = line == "Args:" or is_in_arguments and (not line or indent > 0)
        match = None if is_in_arguments else _ITEM.match(line)
        before = out[-1].strip() if out else ""
        if item is not None and line and indent > item:
            out.append(f"    {line.strip()}")
        elif match and (item is not None or not before or before.endswith(":")):
            out += [""] if item is None and before else []
            out.append(f"- `{match[2]}`: {match[3]}")
            item = len(match[1])
        else:
            out += [""] if item is not None and line else []
            out.append(line)
            item = None
    return "\n".join(out)
