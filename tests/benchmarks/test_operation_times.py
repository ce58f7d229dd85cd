"""Where a function's time goes: the profiler's record, and how it is grouped."""

import json

import operation_times
import pytest
import tensorflow as tf
import train_step

RECORD = [
    ("gen_a2b/conv/convolution", "_MklNativeFusedConv2D", 3.0),
    ("gen_b2a/conv/convolution", "_MklNativeConv2D", 1.0),
    ("gradient_tape/gen_a2b/Conv2DBackpropFilter", "_MklNativeConv2DBackpropFilter", 2.0),
    ("dis_global_a/conv_0/Tensordot/MatMul", "_MklMatMul", 0.5),
    ("gen_a2b/cam/MatMul", "MatMul", 0.5),
    ("gen_a2b/pad/MirrorPad", "MirrorPad", 1.0),
    ("update", "ResourceApplyAdam", 1.0),
    ("gen_a2b/norm/mul", "Mul", 0.5),
    ("something", "NoOp", 0.5),
]


def test_shares_by_group():
    summary = operation_times.summarize(RECORD)
    assert summary["seconds"] == 10.0
    assert {row["name"]: (row["share"], row["count"]) for row in summary["groups"]} == {
        "convolutions, forward": (0.4, 2),
        "convolutions, gradient at the kernel": (0.2, 1),
        "spectral norm (the discriminators' matrix products)": (0.05, 1),
        "matrix products": (0.05, 1),
        "padding, slicing, joining": (0.1, 1),
        "optimizer": (0.1, 1),
        "norms and other elementwise": (0.05, 1),
        "other": (0.05, 1),
    }


def test_kinds_begin_with_the_costliest_whatever_their_form():
    kinds = operation_times.summarize(RECORD)["kinds"]
    assert [row["name"] for row in kinds[:2]] == ["Conv2D", "Conv2DBackpropFilter"]
    assert kinds[0]["count"] == 2


def test_table():
    lines = operation_times.table(operation_times.summarize(RECORD), rows=1).splitlines()
    assert "| convolutions, forward | 40.0% | 2 |" in lines
    assert lines[-1] == "| Conv2D | 40.0% | 2 | convolutions, forward |"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gen_a2b_1/conv-0.x/convolution:_MklNativeConv2D", ("gen_a2b_1/conv-0.x/convolution", "_MklNativeConv2D")),
        ("PartitionedCall:StatefulPartitionedCall", None),
        ("cond:StatelessIf", None),
        ("cond:If", None),
        ("ExecutorState::Process", None),
        ("EagerLocalExecute: _EagerConst", None),
        ("EagerKernelExecute", None),
    ],
)
def test_what_of_the_profilers_events_is_an_operation(name, found):
    assert operation_times.operation(name) == found


def test_a_record_has_every_operation_once():
    @tf.function
    def inner(x):
        return tf.nn.relu(x @ x) + x

    @tf.function
    def outer(x):
        return tf.pad(inner(x) @ x, [(1, 1), (1, 1)])

    x = tf.ones((8, 8))
    outer(x)
    record = operation_times.record(lambda: outer(x).numpy())
    kinds = [operation_times.plain(kind) for _, kind, _ in record]
    assert kinds.count("MatMul") == 2
    assert kinds.count("Pad") == 1
    assert not [kind for kind in kinds if "Call" in kind]
    assert all(seconds >= 0 for _, _, seconds in record)
    assert any(seconds > 0 for _, _, seconds in record)


def test_the_step_writes_its_profile(tmp_path):
    product = tf.function(lambda x: x @ x)
    train_step.write_profile(lambda: product(tf.ones((8, 8))).numpy(), tmp_path / "new" / "step", "python x.py")
    assert (tmp_path / "new" / "step.md").read_text().startswith("`python x.py`\n\n| group | share |")
    assert json.loads((tmp_path / "new" / "step.json").read_text())["command"] == "python x.py"
