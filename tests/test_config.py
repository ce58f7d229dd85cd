"""The configuration: what it refuses and how it says so, and its way into a file and back."""

import dataclasses
import datetime
import json
import re

import pytest

from ugatit_tf.config import GAN_TYPES, PENALTY_TYPES, DataConfig, ModelConfig, RunConfig, TrainConfig

RUN = RunConfig(
    ModelConfig("pytorch", True, 8, 2, 5, 48, 3, False, True),
    TrainConfig(lr=0.1, ema=0.9, decay_epoch=7, gan_type="hinge", precision="float16", seed=3),
    DataConfig("cats", "/data"),
    keep=7,
    sample_dir="pictures",
)


@pytest.mark.parametrize("run", [RunConfig(), RUN])
def test_json_round_trip(run):
    assert RunConfig.from_json(run.to_json(), "memory") == run
    assert json.loads(run.to_json()) == dataclasses.asdict(run)


@pytest.mark.parametrize("keys", [("kept",), ("model", "channels"), ("train", "learning_rate"), ("data", "folder")])
def test_unknown_keys_are_named(keys):
    values = dataclasses.asdict(RUN)
    part = values if len(keys) == 1 else values[keys[0]]
    part[keys[-1]] = 1
    with pytest.raises(ValueError, match=f"x.json holds no run configuration of this version of .*: .*{keys[-1]}"):
        RunConfig.from_json(json.dumps(values), "x.json")


@pytest.mark.parametrize("missing", ["model", "train", "data"])
def test_missing_parts_are_named(missing):
    values = dataclasses.asdict(RUN)
    del values[missing]
    with pytest.raises(ValueError, match=f"no run configuration.*{missing}"):
        RunConfig.from_json(json.dumps(values), "x.json")


def test_what_a_file_holds_is_checked_too():
    with pytest.raises(ValueError, match="keep must be at least 1; received 0"):
        RunConfig.from_json(RUN.to_json().replace('"keep": 7', '"keep": 0'), "x.json")
    for text in ("", "{", "[]", '{"model": 3, "train": {}, "data": {}}', RUN.to_json().replace('"ch": 8', '"ch": "8"')):
        with pytest.raises(ValueError, match=r"x\.json holds no run configuration"):
            RunConfig.from_json(text, "x.json")


@pytest.mark.parametrize(
    ("dataset", "folder"), [("cats", "cats"), ("pets/cats", "pets/cats"), ("tfds:cycle_gan/maps", "cycle_gan_maps")]
)
def test_a_dataset_has_its_folder(dataset, folder):
    assert DataConfig(dataset, "/data").path.as_posix() == f"/data/{folder}"


@pytest.mark.parametrize(
    ("dataset", "data_dir", "url"),
    [
        ("cats", "gs://bucket/sets", "gs://bucket/sets/cats"),
        ("pets/cats", "gs://bucket/", "gs://bucket/pets/cats"),
        ("tfds:cycle_gan/maps", "ram://x", "ram://x/cycle_gan_maps"),
        ("gs://bucket/cats", "dataset", "gs://bucket/cats"),  # as the path of a folder goes before --data_dir
    ],
)
def test_a_dataset_has_its_url(dataset, data_dir, url):
    assert DataConfig(dataset, data_dir).path == url


# The part, the wrong values, and what its error must say: the name, what was received, and what would do.
WRONG = [
    (ModelConfig, {"flavor": "tf2"}, "flavor must be one of tf1, pytorch; received 'tf2'"),
    (ModelConfig, {"ch": 0}, "ch must be at least 1; received 0"),
    (ModelConfig, {"n_res": 0}, "n_res must be at least 1; received 0"),
    (ModelConfig, {"n_dis": 3}, "n_dis must be at least 4; received 3"),
    (ModelConfig, {"img_ch": 1}, "img_ch must be 3 (RGB); received 1"),
    (ModelConfig, {"img_size": 130}, "img_size must be a multiple of 4; received 130. Use 128 or 132."),
    (ModelConfig, {"img_size": 90}, "img_size must be a multiple of 4; received 90. Use 96."),
    (ModelConfig, {"img_size": 98}, "img_size must be a multiple of 4; received 98. Use 96 or 100."),
    (ModelConfig, {"img_size": 88}, "n_dis=6 needs an img_size of at least 96; received 88. Use 96, or n_dis=5."),
    (ModelConfig, {"img_size": 0}, "n_dis=6 needs an img_size of at least 96; received 0. Use 24 and n_dis=4."),
    (ModelConfig, {"img_size": 64}, "n_dis=6 needs an img_size of at least 96; received 64. Use 96, or n_dis=5."),
    (ModelConfig, {"img_size": 20, "n_dis": 4}, "n_dis=4 needs an img_size of at least 24; received 20. Use 24 and"),
    (ModelConfig, {"flavor": "pytorch", "sn": False}, "sn=False exists in the tf1 flavor only"),
    (ModelConfig, {"architecture": "stargan"}, "architecture must be one of ugatit, cyclegan; received 'stargan'"),
    (ModelConfig, {"norm": "bn"}, "norm must be one of adalin, in, ln, adain, gn; received 'bn'"),
    *(
        (
            ModelConfig,
            {"architecture": "cyclegan", "img_size": size},
            f"4 and, for CycleGAN, at least 24; received {size}.",
        )
        for size in (20, 26, 0)
    ),
    *(
        (
            ModelConfig,
            {"architecture": "cyclegan", **values},
            f"CycleGAN has no light, n_dis, smoothing, sn, norm, cam_g, cam_d; received {received}. Leave them out.",
        )
        for values, received in (
            ({"light": True}, "light=True"),
            ({"n_dis": 5}, "n_dis=5"),
            ({"smoothing": False}, "smoothing=False"),
            ({"sn": False}, "sn=False"),
            ({"norm": "in"}, "norm='in'"),
            ({"cam_g": False}, "cam_g=False"),
            ({"cam_d": False}, "cam_d=False"),
            ({"cam_d": False, "light": True}, "light=True, cam_d=False"),
        )
    ),
    (ModelConfig, {"architecture": "cyclegan", "img_ch": 1}, "img_ch must be 3 (RGB); received 1"),
    (ModelConfig, {"architecture": "cyclegan", "ch": 0}, "ch must be at least 1; received 0"),
    (TrainConfig, {"pool_size": -1}, "pool_size must be at least 0; received -1"),
    (TrainConfig, {"gan_type": "wgan"}, f"gan_type must be one of {', '.join(GAN_TYPES)}; received 'wgan'"),
    (TrainConfig, {"precision": "half"}, "precision must be one of float32, bfloat16, float16; received 'half'"),
    *(
        (TrainConfig, {name: 0}, f"{name} must be at least 1; received 0")
        for name in ("epoch", "iteration", "batch_size", "n_critic")
    ),
    *(
        (TrainConfig, {name: -0.5}, f"{name} must be at least 0; received -0.5")
        for name in ("gp_ld", "adv_weight", "cycle_weight", "identity_weight", "cam_weight", "weight_decay")
    ),
    (TrainConfig, {"cam_weight": float("nan")}, "cam_weight must be at least 0; received nan"),
    (TrainConfig, {"cam_weight": float("inf")}, "cam_weight must be finite; received inf"),
    (TrainConfig, {"lr": float("inf")}, "lr must be finite and above 0; received inf"),
    (TrainConfig, {"seed": -1}, "seed must be at least 0; received -1"),
    (TrainConfig, {"seed": 2**31}, f"seed must be below 2**31; received {2**31}"),
    (TrainConfig, {"lr": 0.0}, "lr must be finite and above 0; received 0.0"),
    (TrainConfig, {"lr": float("nan")}, "lr must be finite and above 0; received nan"),
    (TrainConfig, {"ema": 1.0}, "ema must be in [0, 1): 0 for none, or a decay such as 0.999; received 1.0"),
    (TrainConfig, {"ema": -0.1}, "ema must be in [0, 1)"),
    (TrainConfig, {"decay_epoch": 101}, "decay_epoch must be between 0 and epoch (100); received 101"),
    (TrainConfig, {"decay_epoch": -1}, "decay_epoch must be between 0 and epoch (100); received -1"),
    *(
        (TrainConfig, {"precision": "float16", "gan_type": name}, f"penalty of gan_type {name!r}: .*Use precision bf")
        for name in PENALTY_TYPES
    ),
    *(
        (RunConfig, {name: 0}, f"{name} must be at least 1; received 0")
        for name in ("print_freq", "save_freq", "log_freq", "keep")
    ),
    *(
        (RunConfig, {name: value}, f"{name} names a folder inside the run folder, such as {name[:-4]!r}; received")
        for name in ("checkpoint_dir", "result_dir", "log_dir", "sample_dir")
        for value in ("", "..", "a/b", "/abs", "a\\b")
    ),
    (
        RunConfig,
        {"log_dir": "x", "sample_dir": "x"},
        "checkpoint_dir, result_dir, log_dir, sample_dir must differ; received checkpoint, results, x, x",
    ),
]


@pytest.mark.parametrize(("part", "values", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_values(part, values, message):
    with pytest.raises(ValueError, match=".*".join(map(re.escape, message.split(".*")))):
        part(**values)


def test_a_cyclegan_takes_what_its_networks_take():
    """Where U-GAT-IT's discriminators would need 96 px and a flavor has its own norms, it is free."""
    for values in ({"img_size": 24}, {"img_size": 128, "n_res": 6}, {"flavor": "pytorch"}):
        assert ModelConfig(architecture="cyclegan", **values).title == "CycleGAN"


@pytest.mark.parametrize(
    ("values", "official"),
    [
        ({}, True),
        ({"flavor": "pytorch", "light": True, "ch": 8, "smoothing": False}, True),
        ({"architecture": "cyclegan"}, False),
        *(({"norm": norm}, False) for norm in ("in", "ln", "adain", "gn")),
        ({"cam_g": False}, False),
        ({"cam_d": False}, False),
    ],
)
def test_what_the_official_codes_have(values, official):
    config = ModelConfig(**values)
    assert config.official is official
    assert config.title == ("CycleGAN" if "architecture" in values else "U-GAT-IT")


def test_a_file_from_before_the_baseline_and_the_ablations_is_a_u_gat_it():
    values = dataclasses.asdict(RUN)
    for part, names in (("model", ("architecture", "norm", "cam_g", "cam_d")), ("train", ("pool_size",))):
        for name in names:
            del values[part][name]
    for name in ("eval_every", "features", "history"):
        del values[name]
    run = RunConfig.from_json(json.dumps(values), "memory")
    assert run == RUN
    assert (run.model.architecture, run.model.norm, run.model.cam_g, run.model.cam_d) == (
        "ugatit",
        "adalin",
        True,
        True,
    )
    assert (run.train.pool_size, run.eval_every) == (0, 0)


@pytest.mark.parametrize(("n_dis", "img_size"), [(4, 24), (5, 48), (6, 96), (7, 192)])
def test_the_advice_on_n_dis_is_good(n_dis, img_size):
    """Where the smallest size for a depth is given, that size works, and a smaller one advises a depth that works."""
    ModelConfig(n_dis=n_dis, img_size=img_size)
    if n_dis > 4:
        with pytest.raises(ValueError, match=rf"Use {img_size}, or n_dis={n_dis - 1}\.") as error:
            ModelConfig(n_dis=n_dis, img_size=img_size - 4)
        ModelConfig(n_dis=int(str(error.value).rstrip(".").split("=")[-1]), img_size=img_size - 4)


def test_steps_of_a_training():
    assert (TrainConfig().total_steps, TrainConfig().decay_start) == (1_000_000, 500_000)
    config = TrainConfig(epoch=5, iteration=3)
    assert (config.total_steps, config.decay_start) == (15, 6)
    assert dataclasses.replace(config, decay_epoch=5).decay_start == 15
    assert dataclasses.replace(config, decay_epoch=0).decay_start == 0


def test_differences_are_those_that_decide_the_weights():
    other = dataclasses.replace(
        RUN,
        model=dataclasses.replace(RUN.model, ch=16),
        train=dataclasses.replace(RUN.train, lr=0.25),
        data=DataConfig("dogs", "/elsewhere"),
        keep=1,
        print_freq=5,
    )
    assert RUN.differences(RUN) == []
    assert RUN.differences(other) == ["ch: 8, not 16", "lr: 0.1, not 0.25", "dataset: 'cats', not 'dogs'"]


def test_more_epochs_are_no_difference_and_fewer_are():
    more = dataclasses.replace(RUN, train=dataclasses.replace(RUN.train, epoch=RUN.train.epoch + 1))
    assert RUN.differences(more) == []
    assert more.differences(RUN) == more.differences(RUN, change=True)
    assert more.differences(RUN) == [f"epoch: {RUN.train.epoch + 1}, not {RUN.train.epoch}"]


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(TrainConfig)])
def test_what_may_change_on_demand(name):
    """The learning rate and the losses' weights, and nothing else that decides the weights."""
    on_demand = {"lr", "adv_weight", "cycle_weight", "identity_weight", "cam_weight", "gp_ld"}
    others = {"decay_flag": False, "decay_epoch": 0, "gan_type": "hinge", "augment_flag": False, "seed": 99}
    others |= {"precision": "bfloat16", "ema": 0.25, "n_critic": 9, "pool_size": 9, "iteration": 9, "batch_size": 9}
    plain = RunConfig()
    train = dataclasses.replace(plain.train, **{name: others.get(name, 0.125 if name in on_demand else 999)})
    other = dataclasses.replace(plain, train=train)
    free = name in ("remat", "xla", "epoch")
    assert bool(plain.differences(other)) is not free
    assert bool(plain.differences(other, change=True)) is not (free or name in on_demand)
    assert list(plain.changes(other)) == [name]


@pytest.mark.parametrize(("before", "after", "change"), [(0, 50, True), (50, 0, True), (50, 60, False)])
def test_scores_of_held_out_images_can_begin_and_end_on_demand(before, after, change):
    run, other = (RunConfig(eval_every=value) for value in (before, after))
    assert run.differences(other) == ([f"eval_every: {before}, not {after}"] if change else [])
    assert run.differences(other, change=True) == []


def test_a_run_keeps_a_history_of_what_changed():
    first = RunConfig()
    same = first.resumed_by(RunConfig(), 10, "1.0")
    assert same.history == []
    second = same.resumed_by(RunConfig(train=TrainConfig(lr=0.5, epoch=200), save_freq=7), 20, "1.1")
    third = second.resumed_by(RunConfig(train=TrainConfig(lr=0.25, epoch=200), save_freq=7), 30, "1.2")
    assert first.history == same.history == []
    assert [(row["step"], row["version"], row["changes"]) for row in third.history] == [
        (20, "1.1", {"epoch": [100, 200], "lr": [0.0001, 0.5], "save_freq": [1000, 7]}),
        (30, "1.2", {"lr": [0.5, 0.25]}),
    ]
    assert all(datetime.datetime.fromisoformat(row["time"]).utcoffset() is not None for row in third.history)
    assert RunConfig.from_json(third.to_json(), "memory") == third
    assert third.train.lr == 0.25


@pytest.mark.parametrize(
    ("dataset", "path"), [("cats", "/data/cats"), ("tfds:cycle_gan/horse2zebra", "/data/cycle_gan_horse2zebra")]
)
def test_folder_of_a_dataset(dataset, path):
    assert str(DataConfig(dataset, "/data").path) == path


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RUN.model.ch = 3
