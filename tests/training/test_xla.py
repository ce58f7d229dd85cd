"""XLA compiles the training step: every loss, precision and option, with the same numbers. On the CPU."""

import numpy as np
import pytest

import ugatit_tf

pytestmark = pytest.mark.slow
TINY = {"light": True, "ch": 2, "n_res": 1, "n_dis": 4, "img_size": 24}
CYCLEGAN = {"architecture": "cyclegan", "ch": 2, "n_res": 1, "img_size": 24}
CASES = {
    "float32": ("tf1", {**TINY, "light": False}, {"ema": 0.9}),
    "bfloat16": ("pytorch", TINY, {"precision": "bfloat16", "gan_type": "wgan-gp", "remat": True}),
    "float16": ("tf1", TINY, {"precision": "float16"}),
    "pool": ("tf1", CYCLEGAN, {"pool_size": 2}),
}
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}  # XLA rounds fused operations once
DRAWN = ("bfloat16", "pool")  # random numbers, which XLA need not draw as TensorFlow's kernels do


def losses(name, xla):
    """Of two steps."""
    flavor, model, train = CASES[name]
    model = ugatit_tf.UGATIT(ugatit_tf.ModelConfig(flavor=flavor, **model), seed=1)
    config = ugatit_tf.TrainConfig(decay_flag=False, cam_weight=30.0, seed=3, xla=xla, **train)
    trainer = ugatit_tf.Trainer(model, config)
    for optimizer in trainer.optimizers.values():
        if optimizer.scale is not None:  # with the first one, gradients overflow, and steps are left out
            optimizer.scale.assign(64.0)
    rng = np.random.default_rng(0)
    batches = [[rng.uniform(-1, 1, (2, 24, 24, 3)).astype("float32") for _ in "ab"] for _ in range(2)]
    seen = [{key: float(value) for key, value in trainer.step(*batch).items()} for batch in batches]
    compiled = {traced.function_def.attr["_XlaMustCompile"].b for traced in traced_steps(trainer)}
    assert compiled == {xla}
    return seen


def traced_steps(trainer):
    return trainer._train_step._function._list_all_concrete_functions()


@pytest.mark.parametrize("name", CASES)
def test_the_compiled_step_gives_the_same_losses(name):
    plain, compiled = (losses(name, xla) for xla in (False, True))
    tolerance = TOLERANCE[CASES[name][2].get("precision", "float32")]
    for one, two in zip(plain, compiled, strict=True):
        assert list(one) == list(two)
        assert all(np.isfinite(value) for value in two.values())
        compared = [key for key in one if not key.startswith("hit_") and (name not in DRAWN or key.startswith("g_c"))]
        assert {key: two[key] for key in compared} == pytest.approx({key: one[key] for key in compared}, rel=tolerance)


def test_nothing_in_the_step_asks_the_host():
    """A Python function, a print or a file inside it would wait for the GPU at every step."""
    model = ugatit_tf.UGATIT(ugatit_tf.ModelConfig(**TINY), seed=1)
    trainer = ugatit_tf.Trainer(model, ugatit_tf.TrainConfig(ema=0.9, pool_size=2, gan_type="dragan"))
    trainer.step(*[np.zeros((1, 24, 24, 3), np.float32)] * 2)
    [traced] = traced_steps(trainer)
    definition = traced.graph.as_graph_def()
    nodes = list(definition.node) + [node for function in definition.library.function for node in function.node_def]
    kinds = {node.op for node in nodes}
    assert "Conv2D" in kinds
    assert not kinds & {"PyFunc", "EagerPyFunc", "PyFuncStateless", "PrintV2", "Print", "ReadFile", "WriteFile"}
