"""What may be done to the fields of a request; some of it leaves one that is valid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from wire import CONTENTS, TYPES, Chance, Request, add_text

from dyntransnet import repository as names

EDGES = (2**63 - 1, -(2**63), 2**40, 2**31, 65536, 0, 1, 2, -1)
REALS = (np.nan, np.inf, -np.inf, 5e-324, 1e-40, -0.0, 0.0, 1e308, 60.0, 0.04)
WORDS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"fast",
    b"FAST",
    b"1",
    b"-1",
    b"../1",
    b"\xd9\xa1",
    b"a\nb",
    b"x" * 300,
)
MODELS = ("", names.NETWORK, names.STREAM, "../" + names.FRONT_DOOR, "\u00e9" * 2000)


def _any(chance: Chance, choices: Sequence) -> Any:
    return choices[chance.integers(len(choices))]


def _tensor(request: Request, chance: Chance) -> Any:
    """One of the inputs; mostly the voxels or the affine, while there are some."""
    if not request.inputs:
        return request.inputs.add(name=names.AFFINE)
    return request.inputs[min(int(chance.geometric(0.4)) - 1, len(request.inputs) - 1)]


def _raw(request: Request, chance: Chance) -> int:
    """Which raw value; there is one afterwards."""
    if not request.raw_input_contents:
        request.raw_input_contents.append(b"1234")
    return min(int(chance.geometric(0.4)) - 1, len(request.raw_input_contents) - 1)


def _edge(request: Request, chance: Chance) -> None:
    shape = _tensor(request, chance).shape
    if shape:
        place = int(chance.integers(len(shape)))
        shape[place] = _any(chance, [*EDGES, shape[place] + 1, shape[place] - 1])


def _rank(request: Request, chance: Chance) -> None:
    shape = _tensor(request, chance).shape
    if chance.random() < 0.5:
        shape.append(int(_any(chance, [*EDGES, 1, 1, 1])))
    else:
        del shape[-1:]


def _turn(request: Request, chance: Chance) -> None:
    """Another scan, of as many voxels."""
    tensor = _tensor(request, chance)
    shape = [*chance.permutation(np.array(tensor.shape, np.int64))]
    del tensor.shape[:]
    tensor.shape.extend(map(int, shape))


def _datatype(request: Request, chance: Chance) -> None:
    kinds = [*TYPES, "BYTES", "UINT8", "BOOL", "INT64", "UINT16", "FP16", "BF16", "", "x" * 999]
    _tensor(request, chance).datatype = _any(chance, kinds)


def _name(request: Request, chance: Chance) -> None:
    others = [each.name for each in request.inputs]
    known = [names.VOXELS, names.VOXELS_FLOAT, names.NETWORK_VERSION, "", "image", "v" * 5000]
    _tensor(request, chance).name = _any(chance, [*others, *known])


def _size(request: Request, chance: Chance) -> None:
    raw, place = request.raw_input_contents, _raw(request, chance)
    by = int(chance.integers(1, 9))
    raw[place] = raw[place][:-by] if chance.random() < 0.5 else raw[place] + bytes(by)


def _order(request: Request, chance: Chance) -> None:
    raw, one, other = request.raw_input_contents, _raw(request, chance), _raw(request, chance)
    raw[one], raw[other] = raw[other], raw[one]


def _fewer(request: Request, chance: Chance) -> None:
    for each in (request.inputs, request.raw_input_contents, request.outputs):
        if each and chance.random() < 0.4:
            del each[int(chance.integers(len(each)))]


def _more(request: Request, chance: Chance) -> None:
    if chance.random() < 0.5:
        request.inputs.append(_tensor(request, chance))
        raw = request.raw_input_contents
        raw.append(raw[_raw(request, chance)])
    shown = [names.MASK, names.PROBABILITIES, names.PROGRESS, "logits", ""]
    request.outputs.add(name=_any(chance, shown))


def _inside(request: Request, chance: Chance) -> None:
    """Values in the tensors themselves: as valid, or with some of them still behind."""
    raw = [*request.raw_input_contents]
    for tensor, values in zip(request.inputs, raw, strict=False):
        if tensor.datatype == "BYTES":
            tensor.contents.bytes_contents.append(values[4:])
        elif (
            tensor.datatype in TYPES and not len(values) % np.dtype(TYPES[tensor.datatype]).itemsize
        ):
            found = np.frombuffer(values, TYPES[tensor.datatype]).tolist()
            getattr(tensor.contents, CONTENTS[tensor.datatype]).extend(found)
    if chance.random() < 0.8:
        del request.raw_input_contents[:]


def _real(request: Request, chance: Chance) -> None:
    """A value of the affine or of any other tensor."""
    place = _raw(request, chance)
    values = bytearray(request.raw_input_contents[place])
    kind = np.float64 if len(values) == 128 else _any(chance, [np.float32, np.int16])
    whole = np.frombuffer(values, kind, len(values) // np.dtype(kind).itemsize)
    for index in chance.integers(max(whole.size, 1), size=whole.size and chance.integers(1, 4)):
        extreme = _any(chance, (-32768, 32767)) if kind is np.int16 else _any(chance, REALS)
        with np.errstate(over="ignore"):
            whole[index] = extreme
    request.raw_input_contents[place] = bytes(values)


def _text(request: Request, chance: Chance) -> None:
    name = _any(chance, [names.CASE, names.PRESET, names.NETWORK_VERSION])
    for place, each in enumerate([*request.inputs][: len(request.raw_input_contents)]):
        if each.name == name:
            del request.inputs[place], request.raw_input_contents[place]
            break
    add_text(
        request, name, *(_any(chance, WORDS) for _ in range(int(chance.choice([1, 1, 1, 0, 2]))))
    )


def _deadline(request: Request, chance: Chance) -> None:
    value = _any(chance, [0, 1, -1, 2**63 - 1, -(2**63), 10**6])
    if chance.random() < 0.5:
        request.parameters["timeout"].int64_param = value
    else:
        request.parameters["timeout"].string_param = str(value)


def _parameter(request: Request, chance: Chance) -> None:
    keys = [
        "sequence_id",
        "sequence_start",
        "priority",
        "binary_data_output",
        "headers",
        "",
        "k" * 99,
    ]
    request.parameters[_any(chance, keys)].int64_param = _any(chance, EDGES)
    if chance.random() < 0.4:
        region = _any(chance, [*request.inputs, *request.outputs] or [request.outputs.add()])
        region.parameters["shared_memory_region"].string_param = _any(chance, ["no", "", "../x"])
        region.parameters["shared_memory_byte_size"].int64_param = _any(chance, EDGES)
        region.parameters["shared_memory_offset"].int64_param = _any(chance, EDGES)


def _address(request: Request, chance: Chance) -> None:
    if chance.random() < 0.5:
        request.id = _any(chance, ["", "a b", "x" * 65, "x" * 70000, 'a"}\n{"', "\u00e9"])
    elif chance.random() < 0.5:
        request.model_version = _any(chance, ["1", "2", "-1", "x", "9" * 30, "\n"])
    else:
        request.model_name = _any(chance, MODELS)


IN_FIELDS: dict[str, Callable[[Request, Chance], None]] = {
    "edge": _edge,
    "rank": _rank,
    "turned shape": _turn,
    "datatype": _datatype,
    "name": _name,
    "size": _size,
    "order": _order,
    "fewer": _fewer,
    "more": _more,
    "values inside": _inside,
    "value": _real,
    "text": _text,
    "deadline": _deadline,
    "parameter": _parameter,
    "address": _address,
}
