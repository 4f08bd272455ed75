"""Requests that were valid until something was done to them at random.

A seed gives a request, so that whatever one of them brings about can be looked at again.
``judging.py`` sends them and tells what must become of them.
"""

from dataclasses import dataclass

import numpy as np
from byte_faults import IN_BYTES
from field_faults import IN_FIELDS
from wire import valid_request

BYTES_SHARE = 0.4
COUNTS = (1, 1, 1, 1, 2, 3)
"""Of things done to one request: of many it says nothing that could be answered."""


@dataclass(frozen=True)
class Mutant:
    """A request that something was done to.

    Attributes:
        done: what, for messages.
        message: as it is sent; maybe no request at all.
    """

    done: str
    message: bytes


def mutant(seed: int) -> Mutant:
    """The request of a seed, with one to three things done to its bytes or its fields."""
    chance = np.random.default_rng(seed)
    request = valid_request(chance)
    is_of_bytes = chance.random() < BYTES_SHARE
    kinds = [*(IN_BYTES if is_of_bytes else IN_FIELDS)]
    done = [kinds[chance.integers(len(kinds))] for _ in range(chance.choice(COUNTS))]
    if not is_of_bytes:
        for kind in done:
            IN_FIELDS[kind](request, chance)
    message = bytearray(request.SerializeToString())
    if is_of_bytes:
        for kind in done:
            IN_BYTES[kind](message, chance)
    return Mutant(f"{seed}: {', '.join(done)}", bytes(message))
