"""Trains on one device and on two logical CPUs, from the same weights on the same images, for test_replicas.py.

    python two_devices.py DATASET RESULTS

A process has its logical devices from the start, and room for one MirroredStrategy; so this is one of its own. DATASET
is a folder of images. RESULTS is the file that is written: a pickled dict, by case, of what each side saw.
"""

import pathlib
import pickle
import sys

import keras
import numpy as np
import tensorflow as tf

import ugatit_tf
from ugatit_tf.data import images, pipeline
from ugatit_tf.training.workers import Workers

BATCH, STEPS, START = 4, 3, 1  # START: of the batches from the folder, as if the run was resumed there
TINY = {"light": True, "ch": 2, "n_res": 1, "n_dis": 4, "img_size": 24}
CYCLEGAN = {"architecture": "cyclegan", "ch": 2, "n_res": 1, "img_size": 24}
CASES = {
    "dragan": ("pytorch", TINY, {"gan_type": "dragan", "ema": 0.9, "remat": True}),
    "pool": ("tf1", CYCLEGAN, {"pool_size": 3, "n_critic": 2}),
    "float16": ("tf1", CYCLEGAN, {"precision": "float16"}),
}


def make(name):
    """A trainer on the devices in whose scope this is called."""
    flavor, model, train = CASES[name]
    model = ugatit_tf.ModelConfig(flavor=flavor, **model)
    train = ugatit_tf.TrainConfig(batch_size=BATCH, lr=1e-3, cam_weight=30.0, decay_flag=False, seed=3, **train)
    trainer = ugatit_tf.Trainer(ugatit_tf.UGATIT(model, seed=1), train)
    for optimizer in trainer.optimizers.values():
        if optimizer.scale is not None:  # with the first one, gradients overflow, and steps are left out
            optimizer.scale.assign(64.0)
    return trainer


def losses(names, values):
    return dict(zip(names, values.numpy().tolist(), strict=True))


def moments(trainer):
    """What Adam remembers of the gradients: after one step, 1 - beta_1 times these."""
    return {
        f"{name}/{variable.path}": m.numpy()
        for name, optimizer in trainer.optimizers.items()
        for variable, (m, _) in zip(optimizer.variables, optimizer.moments, strict=True)
    }


def copies(strategy, trainer):
    """Every variable of a training as each device has it, by name."""
    variables = {name: v for name, v in trainer.state().items() if name != "steps"}
    values = {name: v.value if isinstance(v, keras.Variable) else v for name, v in variables.items()}
    return {name: [copy.numpy() for copy in strategy.experimental_local_results(v)] for name, v in values.items()}


def compare(name, workers, whole, shares):
    """The same steps on one device and on two.

    Args:
        whole: batches of all images.
        shares: the same as the strategy's dataset gives them.
    """
    one = make(name)
    with workers.strategy.scope():
        two = make(name)
    seen = {"losses": [], "moments": []}
    for images_of_all, images_of_each in zip(whole, shares, strict=True):
        seen["losses"].append([losses(*one.step_values(*images_of_all)), losses(*two.step_values(*images_of_each))])
        seen["moments"].append([moments(one), moments(two)])
    seen["moments"] = seen["moments"][0]
    seen["copies"] = copies(workers.strategy, two)
    # The state of two devices goes on on one, and that of one on two.
    seen["saved"] = two.arrays()
    one.set_arrays(seen["saved"], "memory")
    seen["resumed"] = one.arrays()
    batch = whole[0] if name == "pool" else shares[0]  # two devices take either
    seen["next losses"] = [losses(*one.step_values(*whole[0])), losses(*two.step_values(*batch))]
    seen["saved by one"] = one.arrays()
    two.set_arrays(seen["saved by one"], "memory")
    seen["resumed by two"] = two.arrays()
    seen["copies by two"] = copies(workers.strategy, two)
    return seen


def main():
    """Run all cases."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    workers = Workers("mirrored")
    dataset = images.load_dataset(pathlib.Path(sys.argv[1]), need=("trainA", "trainB"))
    model = ugatit_tf.ModelConfig(**TINY)
    train = ugatit_tf.TrainConfig(batch_size=BATCH, seed=3)

    def batches_of(share):
        return pipeline.train_batches(dataset, model, train, START, share)

    whole = list(batches_of((0, 1)).take(STEPS))
    shares = [batch for batch, _ in zip(workers.share(batches_of, BATCH), range(STEPS), strict=False)]
    local = workers.strategy.experimental_local_results
    results = {
        "replicas": workers.replicas,
        "whole": [[domain.numpy() for domain in batch] for batch in whole],
        "shares": [[[part.numpy() for part in local(domain)] for domain in batch] for batch in shares],
        "everyones": workers.everyones(7),
        "any": [workers.any(value) for value in (False, True)],
    }
    for name in CASES:
        results[name] = compare(name, workers, whole, shares)
    one_of_five = [np.zeros((5, 24, 24, 3), np.float32)] * 2
    with workers.strategy.scope():
        trainer = make("pool")
    try:
        trainer.step(*one_of_five)
    except ValueError as error:
        results["five images"] = str(error)
    with open(sys.argv[2], "wb") as file:
        pickle.dump(results, file)


if __name__ == "__main__":
    main()
