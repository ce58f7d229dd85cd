"""Floating-point operations of a traced TensorFlow function: its convolutions and matrix products.

A multiplication and an addition count as two, and a tap that falls on padding counts like any other, as in
`torch.utils.flop_counter`, which counts the PyTorch side. All else (norms, activations, Adam) is left out on both.
"""

import collections
import math
import re

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_BRANCHES = {
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
}
_LOOPS = ("While", "StatelessWhile")
# What multiplies too; one of these without a formula is an error and not a zero.
_MULTIPLIES = re.compile(r"Conv[23]D|^Conv$|^XlaConv|Depthwise|MatMul|Einsum|^XlaDot|^Case$|^StatelessCase$")


def count(graph):
    """Operations of one run of a function.

    What the function's results and effects do not depend on is not counted: TensorFlow does not run it (the gradient
    at the images, for example, which comes with that at the weights).

    Args:
        graph: of a concrete function; shapes have to be known.

    Returns:
        `collections.Counter` of the operations by kind, such as `"Conv2D"`.

    Raises:
        ValueError: a shape is not known, or a kind of operation has no formula.
    """
    total = collections.Counter()
    for op in needed(graph):
        if op.type in FORMULAS:
            total[op.type] += FORMULAS[op.type](op)
        elif op.type in CALLS:
            total += count(function(graph, op.get_attr("f")))
        elif op.type in _BRANCHES:
            branches = [count(function(graph, op.get_attr(name))) for name in _BRANCHES[op.type]]
            total += max(branches, key=lambda branch: branch.total())
        elif op.type in _LOOPS:
            if count(function(graph, op.get_attr("body"))).total():
                raise ValueError(f"{op.name} is a loop that multiplies: how often it runs is not known beforehand.")
        elif _MULTIPLIES.search(op.type):
            raise ValueError(f"{op.name} is of the kind {op.type}, which has no formula here. Add one to flops.py.")
    return total


def needed(graph):
    """The operations that a function's results and effects depend on."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    needed = {}
    while waiting:
        op = waiting.pop()
        if op.name not in needed:
            needed[op.name] = op
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return needed.values()


def function(graph, attribute):
    """The graph of a function that an operation calls."""
    return graph._get_function(attribute.name).graph


def _shape(tensor):
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"{tensor.name} has the shape {tensor.shape}: give the function images of known shapes.")
    return tensor.shape.as_list()


def _convolution(maps, kernel):
    """Each output value takes one multiplication and addition for each weight of its channel's kernel."""
    return 2 * math.prod(_shape(maps)) * math.prod(_shape(kernel)[:-1])


def _product(op, transposed):
    """A (batch of) matrix product(s): `transposed` names the attribute that says so of the first factor."""
    inner = _shape(op.inputs[0])[-2 if op.get_attr(transposed) else -1]
    return 2 * math.prod(_shape(op.outputs[0])) * inner


FORMULAS = {
    "Conv2D": lambda op: _convolution(op.outputs[0], op.inputs[1]),
    "Conv2DBackpropInput": lambda op: _convolution(op.inputs[2], op.inputs[1]),
    "Conv2DBackpropFilter": lambda op: _convolution(op.inputs[2], op.outputs[0]),
    "MatMul": lambda op: _product(op, "transpose_a"),
    "BatchMatMul": lambda op: _product(op, "adj_x"),
    "BatchMatMulV2": lambda op: _product(op, "adj_x"),
    "BatchMatMulV3": lambda op: _product(op, "adj_x"),
}
