"""Make OpenVINO's own files from an ONNX file, in as many precisions as are asked for."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from math import prod
from pathlib import Path

import openvino
from openvino import Model

from dyntransnet.atomic import new_folder, sha256_of
from dyntransnet.contract import ONNX_FILE
from dyntransnet.errors import ModelError
from dyntransnet.imaging.tiling import Windows
from dyntransnet.runtimes.openvino_files import FOLDER, NOTE_FILE, Note, files_of
from dyntransnet.runtimes.openvino_norms import fold_norms

QUANTIZED = "Convolution"
"""All else stays in floats. Left to itself NNCF also rounds sums and products, at 78 places instead
of 4 in the tiny network: slower and less alike."""

LEAST_TAPS, LEAST_CHANNELS = 27, 32
"""A convolution with a smaller kernel or input moves more numbers than int8 saves."""

ENDS = ("Parameter", "Result")

TELEMETRY = "openvino_telemetry"


def write_openvino(model: Path, precisions: Sequence[str], windows: Windows) -> None:
    """Write ``openvino/`` into a model folder; nothing where no precision is asked for.

    Args:
        model: a model folder with its ONNX file.
        precisions: of ``openvino_files.PRECISIONS``.
        windows: real ones, from which int8 takes its ranges.

    Raises:
        ModelError: int8 is asked for and NNCF is not installed.
    """
    if not precisions:
        return
    with new_folder(model / FOLDER) as folder:
        for precision in precisions:
            network = openvino.Core().read_model(str(model / ONNX_FILE))
            # Behind int8 convolutions, a fold gave other numbers (OpenVINO 2026.4.1).
            fold_norms(network, in_rows=precision != "int8")
            if precision == "int8":
                network = quantized(network, windows)
            _number_names(network)
            openvino.save_model(
                network, str(folder / files_of(precision)[0]), compress_to_fp16=False
            )
        note = Note(
            openvino=version("openvino"),
            nncf=version("nncf") if "int8" in precisions else None,
            onnx_sha256=sha256_of(model / ONNX_FILE),
            files={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
        )
        (folder / NOTE_FILE).write_text(note.model_dump_json(indent=1) + "\n")


def quantized(network: Model, windows: Windows) -> Model:
    """Large convolutions in int8, everything else in floats, by ranges seen on real windows.

    Args:
        network: in floats, left as it is.
        windows: shown to the network one at a time.

    Raises:
        ModelError: NNCF is not installed.
    """
    try:
        with _without_telemetry():
            import nncf
    except ImportError as error:
        raise ModelError(
            f"int8 must have nncf (pip install 'dyntransnet[pipeline]'), got {error}"
        ) from error
    nncf.set_log_level("ERROR")
    nodes = network.get_ordered_ops()
    small = [node.get_friendly_name() for node in nodes if _is_small(node)]
    others = {node.get_type_name() for node in nodes} - {QUANTIZED, *ENDS}
    with redirect_stdout(io.StringIO()):  # progress bars
        return nncf.quantize(
            network,
            nncf.Dataset([window[None] for window in windows]),
            subset_size=len(windows),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=small, types=sorted(others), validate=False),
        )


def _is_small(node: openvino.Node) -> bool:
    """Whether a node is a convolution that is not worth quantizing."""
    if node.get_type_name() != QUANTIZED:
        return False
    _, channels, *taps = node.input_value(1).get_partial_shape().to_shape()
    return channels < LEAST_CHANNELS or prod(taps) < LEAST_TAPS


def _number_names(network: Model) -> None:
    """Name operators by their order: OpenVINO's own numbers differ from one run to the next."""
    for index, node in enumerate(network.get_ordered_ops()):
        if node.get_type_name() not in ENDS:
            node.set_friendly_name(f"{node.get_type_name()}_{index}")


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """NNCF tells a web service of each of its uses, and asks nobody; without this module it cannot.

    Source:
        nncf/telemetry/wrapper.py of NNCF 3.4
    """
    known = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if known is None:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = known
