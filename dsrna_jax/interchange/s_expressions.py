"""S-expressions with line numbers: the syntax of SMT-LIB, in which VNNLIB is written, with words that have an index, X[0, 3]."""

import re
from typing import NamedTuple

from dsrna_jax.errors import InputError, shown

_DEEPEST = 64
_TOKEN = re.compile(r'[()]|;[^\n]*|\n|"[^"\n]*"|[^\s();\[\]"]*\[[^\[\]();\n]*\]|[^\s();]+')


class Atom(NamedTuple):
    """A word or number, and its line in the file."""

    text: str
    line: int


class Form(NamedTuple):
    """A list in brackets, and the line of the opening one."""

    items: tuple["Atom | Form", ...]
    line: int

    @property
    def head(self) -> str:
        """The word that it opens with; "" if it opens with a list, or is empty."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Atom) else ""


def parsed(text: str) -> list[Form]:
    """The lists of a text, without comments.

    Raises: InputError, with the line, for brackets that do not match or are nested too deep, and for words outside of them.
    """
    line, stack = 1, [([], 0)]
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token == "(":
            stack.append(([], line))
            if len(stack) > _DEEPEST:
                raise InputError(f"line {line}: brackets more than {_DEEPEST} deep")
        elif token == ")":
            items, start = stack.pop()
            if not stack:
                raise InputError(f"line {line}: a ) without its (")
            stack[-1][0].append(Form(tuple(items), start))
        elif not token.startswith(";"):
            if len(stack) == 1:
                raise InputError(f"line {line}: {shown(token)} stands outside of brackets")
            stack[-1][0].append(Atom("".join(token.split()) if token.endswith("]") else token, line))
    if len(stack) > 1:
        raise InputError(f"line {stack[-1][1]}: a ( without its )")
    return stack[0][0]
