"""Ids from outside, spelt as the model spells them: one user is one user, whether a request says 12 or "12"."""

import re

from temporec.data.vocabulary import Id, Vocabulary

__all__ = ["spelt"]

_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def spelt(value: Id, vocabulary: Vocabulary) -> Id:
    """12 where ids are integers, "12" where they are texts; anything else stays as it is."""
    if not vocabulary.is_integer:
        return str(value)
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
