"""Instance norms as one operator each, whose sums are short.

The ONNX file spells each norm out as sums of one edge of the window at a time, because runtimes
add a whole window up in one go and lose digits (docs/decisions/0011-norms.md). OpenVINO computes
that in many passes. Its operator MVN takes one, and its sums are short too where the window is
folded into rows: it adds up within a row, and then rows.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import openvino
from openvino import Model, Node, opset15

MOST_ROWS = 64
"""A window of 64 x 64 x 64 becomes 64 rows of 4096 voxels, each added up in 16 lanes."""


RANK = 5
"""Of (n, c, x, y, z)."""

SPELLED = ("MatMul", "Transpose", "Add", "Sqrt", "Divide")
"""What leads from the squares to 1 / sqrt(their mean + epsilon)."""


def fold_norms(model: Model, *, in_rows: bool) -> int:
    """Put an MVN in the place of every spelled out instance norm, in place.

    Args:
        model: read from the ONNX file that ``onnx_writer`` wrote.
        in_rows: whether windows are folded, so that sums are short.

    Returns:
        How many norms were found.
    """
    found = [norm for node in model.get_ordered_ops() if (norm := _norm_of(node))]
    for norm in found:
        _fold(norm, MOST_ROWS if in_rows else 1)
    model.validate_nodes_and_infer_types()
    return len(found)


@dataclass(frozen=True)
class SpelledNorm:
    """An instance norm: centered * scale, and what both are made of.

    Attributes:
        centered: the image less its mean.
        square: of the above, what the scale is made of.
        epsilon: added to the variance.
        scale: 1 / sqrt(variance + epsilon).
    """

    centered: Node
    square: Node
    epsilon: float
    scale: Node


def _norm_of(square: Node) -> SpelledNorm | None:
    """The norm whose squares a node computes, if it does."""
    if square.get_type_name() != "Multiply" or square.input_value(0) != square.input_value(1):
        return None
    centered, node, epsilon = square.input_value(0).get_node(), square, 0.0
    if centered.get_type_name() != "Subtract" or len(centered.get_output_partial_shape(0)) != RANK:
        return None
    while node.get_type_name() != "Divide":
        uses = list(node.output(0).get_target_inputs())
        if len(uses) != 1 or (node := uses[0].get_node()).get_type_name() not in SPELLED:
            return None
        if node.get_type_name() == "Add":
            epsilon = float(node.input_value(1).get_node().get_data())
    return SpelledNorm(centered, square, epsilon, node)


def _fold(norm: SpelledNorm, most_rows: int) -> None:
    """Centered * scale becomes MVN * 1: nobody asks for what made both any more."""
    folded = _mvn(norm.centered.input_value(0), norm.epsilon, most_rows)
    for use in list(norm.centered.output(0).get_target_inputs()):
        if use.get_node() != norm.square:
            use.replace_source_output(folded)
    one = opset15.constant(np.ones((), np.float32)).output(0)
    for use in list(norm.scale.output(0).get_target_inputs()):
        use.replace_source_output(one)


def _mvn(image: openvino.Output, epsilon: float, most_rows: int) -> openvino.Output:
    _, *fixed = image.get_partial_shape()
    shape = [edge.get_length() for edge in fixed]
    voxels = prod(shape[1:])
    rows = max(count for count in range(1, most_rows + 1) if voxels % count == 0)
    if rows == 1:
        return opset15.mvn(image, np.array([2, 3, 4]), True, epsilon, "inside_sqrt").output(0)
    folded = opset15.reshape(image, np.array([-1, rows, voxels // rows]), special_zero=False)
    norm = opset15.mvn(folded, np.array([1, 2]), True, epsilon, "inside_sqrt")
    return opset15.reshape(norm, np.array([-1, *shape]), special_zero=False).output(0)
