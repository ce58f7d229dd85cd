"""The products of a step, one by one: none is lost, and each alone is the operation that the step has."""

import flops
import products
import tensorflow as tf


def graph():
    """Two equal convolutions, a third of stride 2, a matrix product of a transposed factor, and gradients of all."""

    @tf.function
    def function(x, kernels, a, b):
        with tf.GradientTape() as tape:
            tape.watch([x, kernels, a, b])
            y = tf.nn.conv2d(tf.nn.conv2d(x, kernels[0], 1, "SAME"), kernels[1], 1, "SAME")
            y = tf.nn.conv2d(y, kernels[0], 2, "VALID")
            loss = tf.reduce_sum(y**2) + tf.reduce_sum(tf.matmul(a, b, transpose_a=True) ** 2)
        return tape.gradient(loss, [x, kernels, a, b])

    shapes = (1, 8, 8, 4), (2, 3, 3, 4, 4), (6, 5), (6, 7)
    return function.get_concrete_function(*map(tf.zeros, shapes)).graph


def test_equal_ones_are_counted():
    found = products.signatures(graph())
    numbers = {}
    for (kind, shapes, _, _), number in found.items():
        numbers.setdefault(kind, {})[shapes[-1]] = numbers.get(kind, {}).get(shapes[-1], 0) + number
    assert numbers["Conv2D"] == {(1, 8, 8, 4): 2, (1, 3, 3, 4): 1}
    assert numbers["Conv2DBackpropFilter"] == {(3, 3, 4, 4): 3}
    assert numbers["Conv2DBackpropInput"] == {(1, 8, 8, 4): 3}
    assert numbers["MatMul"] == {(5, 7): 1, (6, 5): 1, (6, 7): 1}


def test_none_is_lost_and_each_alone_is_that_of_the_step():
    traced, total = graph(), 0
    for signature, number in products.signatures(traced).items():
        run, count = products.operation(signature)
        assert run().shape == signature[1][-1]
        total += number * count
    assert total == flops.count(traced).total()


def test_half_precision_stays():
    traced = tf.function(lambda a: a @ a).get_concrete_function(tf.TensorSpec((4, 4), tf.bfloat16)).graph
    [signature] = products.signatures(traced)
    assert products.operation(signature)[0]().dtype == tf.bfloat16


def test_a_table_by_hand():
    """5 and 3 of 10 seconds; 5 x 2 and 3 x 3 GFLOP: 2, 3, together 19 / 8 and, of the step, 19 / 10 a second."""
    rows = [
        (5.0, 5, 2e9, ("Conv2D", ((1, 8, 8, 4), (3, 3, 4, 6), (1, 8, 8, 6)), "float32", ())),
        (3.0, 3, 3e9, ("Conv2DBackpropFilter", ((1, 8, 8, 4), (4,), (1, 8, 8, 6), (3, 3, 4, 6)), "float32", ())),
    ]
    text = products.table(rows, 10.0, 1)
    assert "| Conv2D | 1 x 8 x 8 x 4, 3 x 3 x 4 x 6: 1 x 8 x 8 x 6 | 5 | 2 | 50.0% |" in text
    assert "BackpropFilter" not in text
    assert "| all 2 kinds | | 8 | 2 | 80.0% |" in text
    assert "| the step | | | 2 | 100% |" in text
