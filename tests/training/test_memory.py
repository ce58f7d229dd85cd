"""The memory planner, against built networks and gradients as TensorFlow traces them.

What a step really takes is measured in tests/benchmarks/test_predicted_memory.py.
"""

import dataclasses

import pytest
import tensorflow as tf

import ugatit_tf
from ugatit_tf.cli.main import main
from ugatit_tf.training import memory, room

TINY = {"ch": 4, "n_res": 2, "n_dis": 4, "img_size": 32}
MODELS = {
    "pytorch light": {"flavor": "pytorch", "light": True, **TINY},
    "pytorch full": {"flavor": "pytorch", **TINY},
    "tf1 light": {"flavor": "tf1", "light": True, **TINY},
    "tf1 full": {"flavor": "tf1", **TINY},
    "no attention": {"flavor": "tf1", "cam_g": False, "cam_d": False, "sn": False, **TINY},
    "adain": {"flavor": "tf1", "norm": "adain", **TINY},
    "in": {"flavor": "tf1", "norm": "in", **TINY},
    "gn": {"flavor": "pytorch", "norm": "gn", **TINY, "ch": 8},
    "deep": {"flavor": "pytorch", "light": True, "ch": 4, "n_res": 1, "n_dis": 5, "img_size": 48},
    "cyclegan": {"architecture": "cyclegan", "ch": 4, "n_res": 2, "img_size": 32},
}
GB = 10**9
BATCH = 5  # a size that no other dimension has
_SAME = ("Identity", "IdentityN", "Reshape", "StopGradient", "ExpandDims", "Squeeze")  # no memory of their own


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_the_built_networks(name):
    config = ugatit_tf.ModelConfig(**MODELS[name])
    assert memory.count_params(config) == ugatit_tf.UGATIT(config).count_params()


def kept_entries(network, size):
    """Entries an image of the forward pass's maps that the gradient at the weights reads, from the traced graph."""
    forward = set()

    def gradients(images):
        with tf.GradientTape() as tape:
            image, logit, _ = network(images, training=True)
            # The loss of a logit keeps it; one of an image keeps what is not the network's.
            loss = tf.reduce_sum(tf.square(image) if image.shape[-1] == 1 else image * 0.5)
            if logit is not None:
                loss += tf.reduce_sum(tf.square(logit))
        forward.update(operation.name for operation in tf.compat.v1.get_default_graph().get_operations())
        return tape.gradient(loss, [variable.value for variable in network.trainable_variables])

    traced = tf.function(gradients, autograph=False)
    graph = traced.get_concrete_function(tf.TensorSpec((BATCH, size, size, 3))).graph
    found, seen, waiting = {}, set(), [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        waiting += [tensor.op for tensor in operation.inputs]
        if operation.name in forward or operation.type in (*_SAME, "Shape", "ShapeN", "Size", "ZerosLike"):
            continue
        for tensor in operation.inputs:
            shapes = [tensor.shape]
            while tensor.op.type in _SAME:
                tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
                shapes.append(tensor.shape)
            maps = [len(shape) == 4 and shape[0] == BATCH and shape[1] > 1 for shape in shapes]
            if tensor.op.name in forward and tensor.op.type != "Placeholder" and any(maps):
                found[tensor.name] = tensor.shape.num_elements() // BATCH
    return sum(found.values())


@pytest.mark.parametrize("remat", [False, True], ids=["", "remat"])
@pytest.mark.parametrize("name", MODELS)
def test_kept_maps_of_a_generator_are_those_of_the_traced_gradient(name, remat):
    config = ugatit_tf.ModelConfig(**MODELS[name])
    network = ugatit_tf.UGATIT(config).gen_a2b
    network.remat = remat
    counted = memory.kept_maps(memory.networks(config)["gen_a2b"], remat)
    # The light generators' and CAM's means, [N, 1, 1, C], and the last map's like are not counted: below 1 %.
    assert counted == pytest.approx(kept_entries(network, config.img_size), rel=0.01)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_kept_maps_of_discriminators_are_those_of_the_traced_gradient(name, half):
    config = ugatit_tf.ModelConfig(**MODELS[name])
    model = ugatit_tf.UGATIT(config)
    model.set_precision("bfloat16" if half else "float32")
    for key in [key for key in model.discriminators if key.endswith("_a")]:
        counted = memory.kept_maps(memory.networks(config, half)[key])
        assert counted == pytest.approx(kept_entries(model.networks[key], config.img_size), rel=0.01), key


def step_bytes(model=None, replicas=1, gpu=False, **train):
    values = {"light": True, "ch": 16, "img_size": 128} if model is None else model
    return memory.step_bytes(ugatit_tf.ModelConfig(**values), ugatit_tf.TrainConfig(**train), gpu, replicas)


def test_what_is_held_is_weights_moments_averages_and_pools():
    config = ugatit_tf.ModelConfig(light=True, ch=16, img_size=128)
    counts = memory.count_params(config)
    assert step_bytes().weights == 3 * 4 * sum(counts.values())
    averages = 4 * (counts["gen_a2b"] + counts["gen_b2a"])
    pools = 2 * 50 * 4 * 3 * 128**2
    assert step_bytes(ema=0.9, pool_size=50).weights - step_bytes().weights == averages + pools


def test_what_a_batch_takes_is_shared_by_replicas():
    assert step_bytes(batch_size=8, replicas=4) == step_bytes(batch_size=2)
    assert step_bytes(batch_size=4).maps == 4 * step_bytes().maps
    assert step_bytes(batch_size=4).weights == step_bytes().weights


def test_each_remedy_helps():
    large = {"light": True}
    whole = step_bytes(large).total
    assert step_bytes(large, precision="bfloat16").total < whole
    assert step_bytes(large, remat=True).total < whole
    assert step_bytes(large, gan_type="wgan-gp").total >= whole
    assert step_bytes({}).total > 2 * whole
    assert step_bytes(large, gpu=True).total < whole - 5e8  # TensorFlow itself is not on the GPU


def parse(words):
    """The two dicts of changed fields that suggested flags stand for."""
    parts = {"model": {}, "train": {}}
    for flag in words.split("--")[1:]:
        name, *value = flag.split()
        part = "model" if name in ("light", "ch", "img_size") else "train"
        parts[part][name] = value[0] if name == "precision" else int(value[0]) if value else True
    return parts


def changed(model, train, words):
    parts = parse(words)
    return dataclasses.replace(model, **parts["model"]), dataclasses.replace(train, **parts["train"])


@pytest.mark.parametrize("there", [8, 6, 5, 4, 3, 2, 1.7])
@pytest.mark.parametrize("words", ["", "--light --batch_size 4"])
def test_what_is_suggested_fits_and_the_next_milder_does_not(there, words):
    model, train = changed(ugatit_tf.ModelConfig(), ugatit_tf.TrainConfig(), words)
    found, _ = memory.suggestions(model, train, there * GB)
    assert found
    counts = {flags.count("--") for flags, _ in found}
    assert len(counts) == 1, "the fewest flags"
    milder = {"ch": {32: 48, 48: 64, 16: 24, 24: 32, 8: 16}, "img_size": {192: 256, 128: 192, 96: 128, 64: 96}}
    for flags, size in found:
        assert memory.step_bytes(*changed(model, train, flags)).total == size
        assert memory.MARGIN * size <= there * GB
        if counts == {1}:
            for name, values in milder.items():
                if name in parse(flags)["model"]:
                    again = dataclasses.replace(model, **{name: values[parse(flags)["model"][name]]})
                    assert memory.MARGIN * memory.step_bytes(again, train).total > there * GB


def test_several_flags_where_one_is_not_enough():
    model, train = ugatit_tf.ModelConfig(img_size=512, ch=128), ugatit_tf.TrainConfig(batch_size=4)
    found, _ = memory.suggestions(model, train, 1.9 * GB)
    assert all(flags.count("--") == 2 for flags, _ in found)
    assert any("--ch" in flags for flags, _ in found)


def test_batches_stay_multiples_of_the_replicas():
    model, train = ugatit_tf.ModelConfig(light=True), ugatit_tf.TrainConfig(batch_size=32)
    found, _ = memory.suggestions(model, train, 8 * GB, replicas=4)
    sizes = [parse(flags)["train"]["batch_size"] for flags, _ in found if "--batch_size" in flags]
    assert sizes
    assert all(size % 4 == 0 for size in sizes)


def test_nothing_fits_into_nothing():
    found, (flags, size) = memory.suggestions(ugatit_tf.ModelConfig(), ugatit_tf.TrainConfig(), 10**6)
    assert found == []
    assert "--light" in flags
    assert size < 2 * GB
    line, advice = memory.report(ugatit_tf.ModelConfig(), ugatit_tf.TrainConfig(), 10**6)
    assert line.endswith("; this machine has 0.0 GB free.")
    assert advice == f"That does not fit, nor does anything smaller: {flags} needs about {size / 1e9:.1f} GB."


def test_a_report_adds_up():
    line, advice = memory.report(ugatit_tf.ModelConfig(light=True), ugatit_tf.TrainConfig(), None)
    numbers = [float(word.strip("),.")) for word in line.split() if word.strip("),.").replace(".", "").isdigit()]
    assert numbers[0] == pytest.approx(sum(numbers[1:]), abs=0.2)  # each rounded to a tenth
    assert advice == ""
    assert "GPU" not in line
    assert "never measured" in memory.report(ugatit_tf.ModelConfig(), ugatit_tf.TrainConfig(), None, gpu=True)[0]


FLAGS = ["--light", "--ch", "8", "--n_res", "1", "--n_dis", "4", "--img_size", "32", "--epoch", "1", "--iteration", "1"]


def test_a_dry_run_tells_the_memory_and_what_would_fit(tmp_path, monkeypatch, capsys):
    words = ["--dry_run", "--dataset", "demo", "--data_dir", str(tmp_path)]
    monkeypatch.setattr(room, "free_memory", lambda: 4 * GB)
    monkeypatch.setattr("ugatit_tf.cli.train._time_steps", lambda run, workers: "")
    assert main(["train", *words, "--light"]) == 0
    told = capsys.readouterr().out
    assert "Memory of one step: about 4.9 GB (TensorFlow " in told
    assert "this machine has 4.0 GB free." in told
    assert "What would:\n" in told
    assert "\n  --ch 32 " in told
    assert main(["train", *words, *FLAGS]) == 0
    assert "What would" not in capsys.readouterr().out


def test_a_training_that_will_not_fit_begins_with_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(room, "free_memory", lambda: 10**8)
    monkeypatch.setattr("ugatit_tf.cli.train._fit", lambda *arguments: True)
    command = ["train", "--dataset", "demo", "--data_dir", str(tmp_path), "--run_dir", str(tmp_path / "run"), *FLAGS]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "WARNING: Memory of one step: about " in told
    assert "That does not fit" in told
