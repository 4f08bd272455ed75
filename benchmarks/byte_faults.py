"""What may be done to the bytes of a request."""

from collections.abc import Callable

from wire import Chance

HEAD_SHARE = 0.4
"""Of what is done to bytes, that which hits other bytes than the voxels'."""


def _place(message: bytearray, chance: Chance) -> int:
    """Somewhere in the message; mostly beside the voxels."""
    size = max(len(message), 1)
    if chance.random() < HEAD_SHARE:
        return int(chance.integers(-250, 250)) % size
    return int(chance.integers(size))


def _flip(message: bytearray, chance: Chance) -> None:
    for _ in range(chance.integers(1, 9)):
        if message:
            message[_place(message, chance)] ^= 1 << int(chance.integers(8))


def _cut(message: bytearray, chance: Chance) -> None:
    del message[_place(message, chance) :]


def _drop(message: bytearray, chance: Chance) -> None:
    start = _place(message, chance)
    del message[start : start + int(chance.integers(1, 40))]


def _insert(message: bytearray, chance: Chance) -> None:
    start = _place(message, chance)
    message[start:start] = chance.bytes(int(chance.integers(1, 40)))


def _repeat(message: bytearray, chance: Chance) -> None:
    start, size = _place(message, chance), int(chance.integers(1, 400))
    message[start:start] = message[start : start + size] * int(chance.integers(1, 4))


def _varint(message: bytearray, chance: Chance) -> None:
    """Lengths that claim more than is there."""
    start = _place(message, chance)
    message[start : start + 1] = b"\xff" * int(chance.integers(1, 10)) + b"\x7f"


IN_BYTES: dict[str, Callable[[bytearray, Chance], None]] = {
    "flip": _flip,
    "flips": _flip,
    "bits": _flip,
    "cut": _cut,
    "drop": _drop,
    "insert": _insert,
    "repeat": _repeat,
    "length": _varint,
}
