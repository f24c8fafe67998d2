"""S-expressions with line numbers: the syntax of SMT-LIB, in which VNNLIB is written, with words that have an index, X[0, 3]."""

import re
from typing import NamedTuple

from dsrna_jax.errors import InputError, shown

_DEEPEST = 64
# A list of words on one line is one token: files of hundreds of thousands of bounds consist of them.
_TOKEN = re.compile(r'\([^\n();"\[\]]*\)|[()]|;[^\n]*|\n|"[^"\n]*"|[^\s();\[\]"]*\[[^\[\]();\n]*\]|[^\s();]+')


class Form(NamedTuple):
    """A list in brackets: words, numbers and lists; and the line of the opening bracket."""

    items: tuple["str | Form", ...]
    line: int

    @property
    def head(self) -> str:
        """The word that it opens with; "" if it opens with a list, or is empty."""
        first = self.items[0] if self.items else None
        return first if isinstance(first, str) else ""


def parsed(text: str) -> list[Form]:
    """The lists of a text, without comments.

    Raises: InputError, with the line, for brackets that do not match or are nested too deep, and for words outside of them.
    """
    line, stack, words = 1, [([], 0)], {}
    for token in _TOKEN.findall(text):
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
        elif token[0] == "(":
            items = words.get(token)
            if items is None:
                items = words[token] = tuple(token[1:-1].split())
            stack[-1][0].append(Form(items, line))
        elif token[0] != ";":
            if len(stack) == 1:
                raise InputError(f"line {line}: {shown(token)} stands outside of brackets")
            stack[-1][0].append("".join(token.split()) if token.endswith("]") else token)
    if len(stack) > 1:
        raise InputError(f"line {stack[-1][1]}: a ( without its )")
    return stack[0][0]
