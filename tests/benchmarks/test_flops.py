"""Floating-point operations of a traced function, against closed forms."""

import collections

import flops
import operation_times
import pytest
import tensorflow as tf
from networks import images

import ugatit_tf
from ugatit_tf.layers import UpsampleConv2D


def count(function, *arguments):
    arguments = [tf.zeros(shape) if isinstance(shape, tuple) else shape for shape in arguments]
    return dict(flops.count(tf.function(function).get_concrete_function(*arguments).graph))


def test_a_convolution_with_stride_and_without_padding():
    # 9 -> (9 - 3) / 2 + 1 = 4 and 7 -> 3; each of 2 * 4 * 3 * 8 values takes 3 * 3 * 5 products and sums.
    found = count(lambda x, w: tf.nn.conv2d(x, w, 2, "VALID"), (2, 9, 7, 5), (3, 3, 5, 8))
    assert found == {"Conv2D": 2 * (2 * 4 * 3 * 8) * (3 * 3 * 5)}


def test_taps_on_padding_count():
    found = count(lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), (1, 6, 6, 3), (5, 5, 3, 4))
    assert found == {"Conv2D": 2 * (6 * 6 * 4) * (5 * 5 * 3)}


def test_groups_of_channels():
    found = count(lambda x, w: tf.nn.conv2d(x, w, 1, "VALID"), (1, 4, 4, 6), (1, 1, 3, 4))  # two groups of three
    assert found == {"Conv2D": 2 * (4 * 4 * 4) * 3}


def test_each_gradient_of_a_convolution_costs_what_it_costs():
    def gradients(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.nn.conv2d(x, w, 2, "VALID")
        return tape.gradient(y, [x, w])

    once = 2 * (1 * 4 * 4 * 8) * (3 * 3 * 5)
    # y itself is not needed for its gradient, which is linear.
    expected = {"Conv2DBackpropInput": once, "Conv2DBackpropFilter": once}
    assert count(gradients, (1, 9, 9, 5), (3, 3, 5, 8)) == expected


def test_what_nothing_depends_on_is_not_counted():
    def at_weights(x, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            y = tf.nn.conv2d(x, w, 1, "VALID") ** 2
        return tape.gradient(y, w)

    # TensorFlow writes the gradient at x into the graph too.
    assert count(at_weights, (1, 3, 3, 2), (2, 2, 2, 4)).keys() == {"Conv2D", "Conv2DBackpropFilter"}


def test_effects_are_counted():
    variable = tf.Variable(tf.zeros((2, 3)))

    def assign(a, b):
        variable.assign(a @ b)

    assert count(assign, (2, 5), (5, 3)) == {"MatMul": 2 * 2 * 3 * 5}


@pytest.mark.parametrize(("transpose_a", "shape"), [(False, (2, 5)), (True, (5, 2))])
def test_a_matrix_product(transpose_a, shape):
    found = count(lambda a, b: tf.matmul(a, b, transpose_a=transpose_a), shape, (5, 3))
    assert found == {"MatMul": 2 * 2 * 3 * 5}


def test_a_batch_of_matrix_products():
    found = count(lambda a, b: tf.matmul(a, b, transpose_a=True), (4, 5, 2), (4, 5, 3))
    assert found == {"BatchMatMulV2": 4 * 2 * 2 * 3 * 5}


def test_upsampling_costs_four_convolutions_of_2x2():
    layer = UpsampleConv2D(7)
    layer.build((1, 6, 6, 5))
    assert count(layer, (1, 6, 6, 5)) == {"Conv2D": 4 * 2 * (6 * 6 * 7) * (2 * 2 * 5)}


def test_functions_that_are_called_are_walked_into():
    @tf.function
    def product(a, b):
        return a @ b

    @tf.function
    def twice(a, b):
        return product(a, b) + product(a, 2.0 * b)

    assert count(lambda a, b: twice(a, b) + product(b, a), (5, 5), (5, 5)) == {"MatMul": 3 * 2 * 5**3}


def test_recomputation_counts_again():
    def layer(x):
        return (x @ tf.ones((5, 5))) ** 2

    def gradient(x, function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x), y

    # Forward, and the gradient at x; with recomputation forward a second time.
    assert count(lambda x: gradient(x, layer), (5, 5)) == {"MatMul": 2 * 2 * 5**3}
    assert count(lambda x: gradient(x, tf.recompute_grad(layer)), (5, 5)) == {"MatMul": 3 * 2 * 5**3}


def test_of_two_branches_the_costlier_counts():
    def branches(a, b, first):
        return tf.cond(first, lambda: a @ b, lambda: a @ b @ b)

    graph = (
        tf.function(branches)
        .get_concrete_function(tf.zeros((5, 5)), tf.zeros((5, 5)), tf.TensorSpec((), tf.bool))
        .graph
    )
    assert flops.count(graph) == {"MatMul": 2 * 2 * 5**3}


def test_a_loop_that_multiplies_is_an_error():
    def loop(a, n):
        return tf.while_loop(lambda i, x: i < n, lambda i, x: (i + 1, x @ x), (0, a))

    with pytest.raises(ValueError, match="how often it runs"):
        count(loop, (5, 5), tf.constant(3))


def test_a_kind_without_a_formula_is_an_error():
    with pytest.raises(ValueError, match="of the kind Einsum, which has no formula here"):
        count(lambda a, b: tf.einsum("ijk,kl->ijl", a, b), (2, 3, 4), (4, 5))


def test_an_unknown_shape_is_an_error():
    graph = tf.function(lambda a: a @ tf.ones((5, 5))).get_concrete_function(tf.TensorSpec((None, 5))).graph
    with pytest.raises(ValueError, match=r"has the shape \(None, 5\): give the function images of known shapes"):
        flops.count(graph)


@pytest.mark.slow
def test_what_is_counted_in_a_training_step_is_what_runs(monkeypatch):
    model = ugatit_tf.ModelConfig(flavor="pytorch", light=True, ch=2, n_res=1, n_dis=4, img_size=24)
    trainer = ugatit_tf.Trainer(ugatit_tf.UGATIT(model), ugatit_tf.TrainConfig())
    real = images(1, 24, 24)
    trainer.step(real, real)
    ran = operation_times.record(lambda: float(trainer.step(real, real)["g_loss"]))
    ran = collections.Counter(operation_times.plain(kind) for _, kind, _ in ran)

    monkeypatch.setattr(flops, "FORMULAS", dict.fromkeys(flops.FORMULAS, lambda op: 1))  # numbers of operations
    [traced] = trainer._train_step._function._list_all_concrete_functions()
    counted = flops.count(traced.graph)
    for kind in ("Conv2DBackpropInput", "Conv2DBackpropFilter", "Conv2D"):
        assert counted[kind] == ran[kind] > 0
    assert counted["MatMul"] == ran["MatMul"] > 0
