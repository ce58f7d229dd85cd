"""`ugatit train`: train a model on two folders of images (`--phase train`), or use it on the test images (`test`)."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re

from ugatit_tf import __version__, environment
from ugatit_tf.cli.evaluate import DIRECTIONS, directions_of
from ugatit_tf.cli.flags import Command, UsageError
from ugatit_tf.cli.provenance import provenance
from ugatit_tf.cli.start import (
    RUNS,
    SOURCES,
    add_fit_flag,
    check_dataset,
    find_data,
    find_dataset,
    find_gpus,
    find_source,
    make_folder,
    official_overrides,
    one_source,
    quiet,
    run_of,
)
from ugatit_tf.config import (
    ARCHITECTURES,
    CYCLEGAN_TRAINING,
    FLAVORS,
    GAN_TYPES,
    NORMS,
    PRECISIONS,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from ugatit_tf.text import count
from ugatit_tf.weights import archive
from ugatit_tf.weights.atomic import replacing

FOLDERS = {
    "checkpoint_dir": "checkpoints",
    "result_dir": "results of --phase test",
    "log_dir": "logs",
    "sample_dir": "sample sheets",
}
_FLAGS = {"gp_ld": "GP_ld", "architecture": "model"}  # fields whose flags have another name
AUTO = "auto"  # the precision that is measured to be the fastest
SAMPLES = 5  # images of each folder on a sample sheet, as in the official PyTorch code

SUMMARY = """\
Usage: ugatit train --dataset NAME [flags]        (in a checkout also: python train.py --dataset NAME [flags])
       ugatit train --phase test RUN|CHECKPOINT [flags]

Trains U-GAT-IT on dataset/NAME/{trainA,trainB} and shows its progress on dataset/NAME/{testA,testB}. Stop it with
Ctrl-C and give the same command again: it goes on where it stopped. `--dataset demo` needs no files: the program draws
them. `--phase test` translates the test images with what was trained; a run knows its model and its dataset. Booleans:
--light, --light False or --nolight. With --run_dir RUN a run goes on without its other flags, which it knows, too.

Everything of a run is in one folder (--run_dir, by default runs/UGATIT[_light]_NAME):
  config.json   checkpoint/   logs/ (TensorBoard and losses.jsonl)   samples/ (sheets)   results/ (of --phase test)
TF1's four directory flags name the last four; they are names inside the run folder, not paths.

A first try on a computer without a GPU:
  ugatit train --dataset demo --light --img_size 64 --n_dis 5 --ch 16 --n_res 2 --epoch 8 --iteration 500 --lr 4e-4 \\
    --ema 0.99 --cam_weight 30 --identity_weight 20 --print_freq 500"""


def make_command():
    """The command with all its flags: TF1's with its names and defaults, and a few of ours."""
    model, train, data, run = ModelConfig(), TrainConfig(), DataConfig(), RunConfig()
    command = Command("train", SUMMARY, words=lambda values: values["phase"] == "test")

    command.group("What to do")
    command.choice("phase", "train", ("train", "test"), "Train, or translate the test images with a trained model.")
    command.path(
        "dataset",
        data.dataset,
        "Folder below --data_dir with trainA, trainB, testA and testB, or with the records that ugatit prepare "
        "--tfrecord wrote; demo, which is drawn; or tfds:cycle_gan/NAME, which is fetched once with TensorFlow "
        "Datasets.",
    )
    command.path("data_dir", data.data_dir, "Where the datasets are; of records also a URL, gs://bucket/path.")
    add_fit_flag(command, data.fit)
    command.boolean(
        "dry_run",
        False,
        "Check the flags and the dataset, print the configuration, the number of weights, the predicted memory of a "
        "step and the measured time of all, and stop.",
    )

    command.group("Model")
    command.choice(
        "model",
        model.architecture,
        ARCHITECTURES,
        "U-GAT-IT, or the baseline CycleGAN, with its authors' settings where no flag says otherwise: lr 2e-4, "
        "identity_weight 5, weight_decay 0, pool_size 50, n_res 9 (6 below 256 px).",
    )
    command.boolean(
        "light", model.light, "The light generator: 10.6 M weights instead of 279 M, a little less quality."
    )
    command.choice("flavor", model.flavor, FLAVORS, "Which official implementation to follow; see docs/parity.md.")
    command.integer("img_size", model.img_size, "Width and height of the images in pixels, a multiple of 4.")
    command.integer("img_ch", model.img_ch, "Image channels; only 3 is possible.")
    command.integer("ch", model.ch, "Base number of channels. Time and memory grow with its square.")
    command.integer("n_res", model.n_res, "Number of residual blocks.")
    command.integer("n_dis", model.n_dis, "Number of discriminator layers; 6 needs 96 px, 5 needs 48 px.")
    command.boolean("smoothing", model.smoothing, "AdaLIN smoothing (flavor tf1).")
    command.boolean("sn", model.sn, "Spectral normalisation in the discriminators (off: flavor tf1 only).")

    command.group("Ablations of U-GAT-IT (paper, section 4.3)")
    command.choice("norm", model.norm, NORMS, "Norm of the decoder.")
    command.boolean("cam_g", model.cam_g, "Attention in the generators.")
    command.boolean("cam_d", model.cam_d, "Attention in the discriminators.")

    command.group("Training")
    command.integer("epoch", train.epoch, "Number of epochs.")
    command.integer(
        "iteration", train.iteration, "Number of steps in an epoch, as in TF1. (In the PyTorch code: of all steps.)"
    )
    command.integer("batch_size", train.batch_size, "Images of each domain in a step, of all devices together.")
    command.float("lr", train.lr, "Learning rate.")
    command.boolean("decay_flag", train.decay_flag, "Lower the learning rate from --decay_epoch on.")
    command.integer("decay_epoch", None, "Epoch in which the decay begins (default: half of --epoch, so 50 of 100).")
    command.choice(
        "precision",
        train.precision,
        (*PRECISIONS, AUTO),
        "Precision of the feature maps. auto: bfloat16 where this device computes faster with it than with float32 "
        "(timed once), else float32; a run keeps what it began with.",
    )
    command.boolean(
        "remat", train.remat, "Compute the generators' maps twice instead of keeping them: less memory, more time."
    )
    command.boolean(
        "xla", train.xla, "Compile the step with XLA (one device). Never measured on a GPU; slower on CPUs."
    )
    command.float("ema", train.ema, "Decay of an average of the generators' weights, for example 0.999; 0: none.")
    command.boolean("augment_flag", train.augment_flag, "Flip, enlarge and crop the training images at random.")
    command.integer("pool_size", train.pool_size, "Translations kept to show the discriminators again; 0: none.")
    command.integer("seed", train.seed, "Every random draw follows from it.")

    command.group("Several devices (docs/distributed.md)")
    command.choice(
        "strategy",
        "none",
        ("none", "mirrored", "multi_worker"),
        "none: one device. mirrored: all GPUs of this machine. multi_worker: all GPUs of the machines in TF_CONFIG, on "
        "each of which this same command is started. Losses and gradients are those of one device.",
    )

    command.group("Losses")
    command.choice("gan_type", train.gan_type, GAN_TYPES, "Adversarial loss.")
    command.float("GP_ld", train.gp_ld, "Weight of the gradient penalty (wgan-gp, wgan-lp, dragan).")
    command.float("adv_weight", train.adv_weight, "Weight of the adversarial loss.")
    command.float("cycle_weight", train.cycle_weight, "Weight of the cycle loss.")
    command.float("identity_weight", train.identity_weight, "Weight of the identity loss.")
    command.float("cam_weight", train.cam_weight, "Weight of the CAM loss. With 1000, g losses near 1000 are normal.")
    command.integer("n_critic", train.n_critic, "Update the generators at every n-th step only.")
    command.float("weight_decay", train.weight_decay, "Weight decay, in the manner of the flavor.")

    command.group("Watching, stopping, going on")
    command.integer("print_freq", run.print_freq, "Steps between sample sheets.")
    command.integer("save_freq", run.save_freq, "Steps between checkpoints.")
    command.integer("log_freq", run.log_freq, "Steps between two readings of the losses.")
    command.integer(
        "eval_every",
        run.eval_every,
        "Steps between scores (KID) of images that are held out for that: a tenth of the training images, at most 100 "
        "of each domain. The best weights are kept as best.npz beside the last ones. 0: train on all images.",
    )
    command.path("features", run.features, "For --eval_every: random, inception or a file; see ugatit evaluate.")
    command.integer("keep", run.keep, "Number of checkpoints kept.")
    command.boolean(
        "resume", True, "Go on from the run folder's last checkpoint; with --noresume an old run is an error."
    )
    command.boolean(
        "change",
        False,
        "Let a resumed run change --lr, the weights of the losses, and --eval_every from or to 0. Without it only a "
        "larger --epoch, and what decides no weights. config.json keeps the history.",
    )
    command.path(
        "init",
        None,
        "Begin a new run from the weights of a run or of an official checkpoint. Without effect when the run goes on.",
    )
    command.path("checkpoint", None, f"For --phase test, the same as the word: {SOURCES}.")

    command.group("Folders")
    command.path(
        "run_dir",
        None,
        "Folder of this run (default: runs/UGATIT[_light]_NAME, with what is unusual in the model's name).",
    )
    for name, text in FOLDERS.items():
        command.path(name, getattr(run, name), f"Name of the folder for {text}, inside the run folder.")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    if values["phase"] == "test":
        _refuse(command, values, "init", "dry_run", "strategy", "change")
        return _test(command, values, arguments)
    _refuse(command, values, "checkpoint")
    try:
        run = _run_config(command, values)
    except ValueError as error:
        raise UsageError(error) from error
    _refuse_pytorch_iterations(command, values, run)
    from ugatit_tf.training.signals import lasting_output

    with lasting_output():
        return _train(values, run)


def _refuse(command, values, *names):
    given = [f"--{name} {values[name]}" for name in names if command.given(name)]
    if given:
        raise UsageError(f"{', '.join(given)} has no meaning with --phase {values['phase']}.")


def _refuse_pytorch_iterations(command, values, run):
    """The official PyTorch code counts all steps with --iteration: here that would be a hundred times as many."""
    steps = run.train.iteration
    few = 10_000 if run.model.flavor == "pytorch" else 100_000
    if not command.given("iteration") or command.given("epoch") or steps <= few:
        return
    former = _former(_run_dir(values))
    if former and former.train.iteration == steps:  # it was meant
        return
    epochs, rest = divmod(steps, 10_000)
    same = f"--epoch {epochs} --iteration 10000" if epochs and not rest else f"--epoch 2 --iteration {-(-steps // 2)}"
    raise UsageError(
        f"--iteration {steps} is the number of steps in each of {count(run.train.epoch, 'epoch')}: "
        f"{run.train.total_steps:,} in all. The official PyTorch code counts all steps with it; for its {steps:,} give "
        f"{same}. For the {run.train.total_steps:,} add --epoch {run.train.epoch}."
    )


def _former(run_dir):
    """The configuration of the run that resumes in a folder, or None where none has a checkpoint there."""
    run = RunConfig.of_folder(run_dir)
    return run if run and archive.list_checkpoints(run_dir / run.checkpoint_dir) else None


def _known_to_run(command, values):
    """Of the flags that are not given, the values of the run in the run folder: all if `--run_dir` names it, else the
    number of epochs, which could not be told from a larger one that is meant."""
    run = RunConfig.of_folder(_run_dir(values)) if values["resume"] else None
    if run is None:
        return {}
    if not values["run_dir"]:
        return {} if command.given("epoch") else {"epoch": run.train.epoch}
    known = dataclasses.asdict(run)
    known.pop("history")  # no flag
    known |= {**known.pop("model"), **known.pop("train"), **known.pop("data")}
    known = {_flag(name): value for name, value in known.items()}
    return {name: value for name, value in known.items() if not command.given(name)}


def _run_config(command, values):
    values = dict(values)
    if values["precision"] == AUTO:  # until `_settle_precision`, which needs TensorFlow
        values["precision"] = TrainConfig.precision
    if values["model"] == "cyclegan":
        own = CYCLEGAN_TRAINING | {"n_res": 9 if values["img_size"] >= 256 else 6}
        values |= {name: value for name, value in own.items() if not command.given(name)}
    values |= _known_to_run(command, values)
    parts = {
        name: part(**{field.name: values[_flag(field.name)] for field in dataclasses.fields(part)})
        for name, part in (("model", ModelConfig), ("train", TrainConfig), ("data", DataConfig))
    }
    own = [field.name for field in dataclasses.fields(RunConfig) if field.name not in (*parts, "history")]
    return RunConfig(**parts, **{name: values[name] for name in own})


def _flag(field):
    return _FLAGS.get(field, field)


def _run_dir(values):
    if values["run_dir"]:
        return pathlib.Path(values["run_dir"])
    words = ["CycleGAN" if values["model"] == "cyclegan" else "UGATIT"]
    words += ["light"] * values["light"]
    words += [values["norm"]] * (values["norm"] != "adalin")
    words += [f"no_{name}" for name in ("cam_g", "cam_d") if not values[name]]
    words.append(re.sub(r"[^\w.-]+", "_", values["dataset"]))
    return RUNS / "_".join(words)


def _load_images(paths, size, fit):
    import numpy as np

    from ugatit_tf.data import pipeline

    batches = pipeline.reading(pipeline.test_batches(paths, size, fit=fit))
    return np.concatenate([image for image, _ in batches]) if paths else None


def _report_device(run, gpus, workers):
    from ugatit_tf.training.reporting import device_report

    if workers.replicas > 1:
        each = run.train.batch_size // workers.replicas
        places = f"{count(workers.replicas, 'device')} on {count(workers.count, 'machine')}"
        print(f"{places}; images of each domain in a step: {each} each.")

    print(device_report(gpus, environment.cores()), flush=True)
    if not gpus:
        print("If this machine has a GPU, TF_CPP_MIN_LOG_LEVEL=0 in the environment shows why it was not found.")
    line, advice = _memory(run, gpus, workers)
    if advice:
        print(f"WARNING: {line}\n{advice}", flush=True)


def _memory(run, gpus, workers):
    """`line, advice` on the memory of a step: the prediction, and what would fit if that does not, else empty."""
    from ugatit_tf.training import memory, room

    there = room.free_gpu_memory() if gpus else room.free_memory()
    return memory.report(run.model, run.train, there, bool(gpus), workers.replicas)


def _describe(model):
    from ugatit_tf.training.memory import count_params

    counts = count_params(model)
    rows = [f"  {name:14} {count:>13,}" for name, count in counts.items()]
    return "\n".join(["Weights:", *rows, f"  {'all':14} {sum(counts.values()):>13,}"])


def _train(values, run):
    if not values["dry_run"]:
        print("Starting TensorFlow ...", flush=True)
    gpus = find_gpus()
    from ugatit_tf.training.workers import Workers

    with quiet():
        workers = Workers(values["strategy"])
    if run.train.batch_size % workers.replicas:
        raise UsageError(
            f"--batch_size {run.train.batch_size} is that of all {workers.replicas} devices together, and must be a "
            f"multiple of their number, {workers.replicas}, {2 * workers.replicas}, ..."
        )
    run = _settle_precision(values, run, workers)
    # What the others would say is what the chief says.
    silence = contextlib.nullcontext() if workers.chief else contextlib.redirect_stdout(io.StringIO())
    if not workers.chief:
        print(f"Worker {workers.index} of {workers.count}: worker 0 reports and saves.", flush=True)
    with silence, workers.lost():
        return _train_together(values, run, workers, gpus)


def _settle_precision(values, run, workers):
    """The run with the precision that `--precision auto` means; warns of one that this device emulates."""
    from ugatit_tf.training import precision

    if values["precision"] == AUTO:
        _, former = run_of(_run_dir(values))
        if former:
            chosen, line = former.train.precision, f"Precision: {former.train.precision}, as this run began."
        else:
            chosen, line = precision.choose_precision(run.model)
            if min(workers.everyones(float(chosen == "bfloat16"))) != (chosen == "bfloat16"):
                chosen, line = "float32", "Precision: float32, since bfloat16 is slower on another worker."
        print(line, flush=True)
        run = dataclasses.replace(run, train=dataclasses.replace(run.train, precision=chosen))
    warning = precision.warning(run.model, run.train.precision)
    if warning:
        print(warning, flush=True)
    return run


def _time_steps(run, workers):
    """Train for some steps on noise, and say how long all of them would take on this device."""
    import tensorflow as tf

    from ugatit_tf.training.clock import Clock
    from ugatit_tf.training.loop import compiled_steps
    from ugatit_tf.training.reporting import format_about
    from ugatit_tf.training.trainer import Trainer
    from ugatit_tf.ugatit import UGATIT

    print("Time: compiling the training step, and measuring some ...", flush=True)
    with workers.strategy.scope():
        trainer = Trainer(UGATIT(run.model, run.train.seed), run.train)
    size, total = run.model.img_size, run.train.total_steps
    batch = tf.random.stateless_uniform((run.train.batch_size, size, size, 3), (0, 0), -1.0, 1.0)
    clock, measured = Clock(0, total, compiled_steps(run.train)), 0
    while trainer.steps < total and not measured:
        _, losses = trainer.step_values(batch, batch)
        if clock.needs(trainer.steps):
            losses.numpy()  # the device has finished the step
            measured, seconds, _ = clock.reached(trainer.steps)
    if not measured:
        return f"Time: all {count(total, 'step')} were done before they could be measured."
    about = format_about(seconds / measured * total).lower()
    return f"Time: {about} for {count(total, 'step')}, measured over {measured}."


def _train_together(values, run, workers, gpus):
    from ugatit_tf.training.checkpoint import CheckpointStore
    from ugatit_tf.training.lock import RunLock

    run_dir = _run_dir(values)
    _refuse_other_folders(run_dir, run)
    if CheckpointStore(run_dir / run.checkpoint_dir, run) and not values["resume"]:
        raise UsageError(f"{run_dir} holds a run already. Give another --run_dir, or go on with it (--resume).")
    if values["dry_run"]:
        print(run.to_json())
        print(_describe(run.model))
        line, advice = _memory(run, gpus, workers)
        print(*filter(None, (line, advice)), sep="\n", flush=True)
        check_dataset(run.data, ("trainA", "trainB"))
        print("Time: not measured, since it does not fit into memory." if advice else _time_steps(run, workers))
        return 0

    need = ("trainA", "trainB")
    print(f"Checking the images of {run.data.dataset} ...", flush=True)
    dataset = find_dataset(run.data, need) if workers.chief else None
    workers.everyones(0)  # the chief may have had to draw or to fetch it
    dataset = dataset or find_dataset(run.data, need)
    held_out = None
    if run.eval_every:
        dataset, held_out = dataset.hold_out()
        print(f"Held out to be scored: {len(held_out.test_a)} of trainA, {len(held_out.test_b)} of trainB.")
    make_folder(run_dir, "--run_dir")
    with RunLock(run_dir) if workers.chief else contextlib.nullcontext() as lock:
        store = CheckpointStore(run_dir / run.checkpoint_dir, run, lock.check if lock else lambda: None)
        return _train_alone(values, run, run_dir, workers, gpus, store, dataset, held_out)


def _train_alone(values, run, run_dir, workers, gpus, store, dataset, held_out):
    """Begin or resume the run in a folder that no other process trains in."""
    from ugatit_tf.training.checkpoint import refuse_differences
    from ugatit_tf.training.trainer import Trainer
    from ugatit_tf.ugatit import UGATIT

    config = run_dir / "config.json"
    former, source = RunConfig.of_folder(run_dir), config
    if former is None:
        former, source = archive.newest_config(store.folder)
    if former:
        refuse_differences(former, run, source, values["change"], begun=bool(store))
    _report_device(run, gpus, workers)
    print("Building the networks ...", flush=True)
    with workers.strategy.scope():
        model = UGATIT(run.model, run.train.seed)
        if values["init"] and not store:
            _initialize(model, values["init"])
        trainer = Trainer(model, run.train)
    store.images = dataset.training_images()
    if store:
        path = store.restore(trainer, print, change=True)  # config.json has been compared, and is newer
        print(f"Going on from {path}, step {trainer.steps} of {run.train.total_steps}.")
        if values["init"]:
            print(f"The run in {run_dir} has begun already: --init is passed over.")
    if len(set(workers.everyones(trainer.steps))) > 1:
        raise UsageError(
            f"the workers find different checkpoints in {run_dir}, or some find none. Give a --run_dir on storage that "
            "all of them share."
        )
    if former:
        _tell_changes(former, run, trainer.steps)
        run = store.run = former.resumed_by(run, trainer.steps, __version__)
    if workers.chief:
        with replacing(config) as file:
            file.write(run.to_json().encode() + b"\n")
    print(f"Run folder: {run_dir}", flush=True)
    if trainer.steps >= run.train.total_steps:
        print(f"All steps are done ({trainer.steps:,}). For more, give the same command with a larger --epoch.")
        return 0
    try:
        done = _fit(run, run_dir, workers, trainer, store, dataset, held_out)
    finally:
        if workers.chief and former is None and not trainer.steps:
            config.unlink(missing_ok=True)  # nothing has begun: the next command may be another
    workers.everyones(0)  # none leaves, with success, before the chief has saved
    if done:
        print(f"Done. Sheets: {run_dir / run.sample_dir}. Test images: the same command with --phase test.")
        print(f"Scores: ugatit evaluate {run_dir} --features random (or inception, which is fetched once).")
    else:
        print(f"Stopped at step {trainer.steps} and saved. The same command goes on from there.")
    return 0


def _tell_changes(former, run, steps):
    """Say what a run changes when it resumes."""
    from ugatit_tf.training.schedule import learning_rate

    changes = former.changes(run)
    if not changes:
        return
    print(f"Changed from step {steps} on:", ", ".join(f"{name} {old} -> {new}" for name, (old, new) in changes.items()))
    if {"lr", "epoch"} & set(changes) and steps < run.train.total_steps:
        print(f"The learning rate goes on at {learning_rate(steps, run.train, run.model.flavor):.3g}.")
    if run.eval_every and not former.eval_every and steps:
        print("The images that are held out from here on were trained on before: their scores are too good.")


def _fit(run, run_dir, workers, trainer, store, dataset, held_out):
    """Train; returns whether all steps are done."""
    import tensorflow as tf

    from ugatit_tf.data import pipeline
    from ugatit_tf.training.loop import fit
    from ugatit_tf.training.reporting import Reporter

    def batches_of(share):
        return pipeline.train_batches(dataset, run.model, run.train, trainer.steps, share, run.data.fit)

    batches = pipeline.reading(workers.share(batches_of, run.train.batch_size))
    reporter, draw, evaluate = contextlib.nullcontext(), None, None
    if workers.chief:
        evaluate = _held_out_scorer(held_out, run, trainer) if held_out else None
        draw = _sample_drawer(dataset, run.model.img_size, run.data.fit, trainer)
        folders = (run_dir, run_dir / run.log_dir, run_dir / run.sample_dir)
        reporter = Reporter(*folders, run.train.total_steps, start_step=trainer.steps)
    with reporter as reporter:
        try:
            return fit(trainer, batches, run, store, reporter, draw, evaluate, workers)
        except tf.errors.ResourceExhaustedError as error:
            raise UsageError(
                f"the device's memory does not hold this training ({error.message.partition(chr(10))[0]}). Smaller: "
                "--light, --remat, --precision bfloat16, --batch_size 1, a lower --img_size or --ch."
            ) from error


def _refuse_other_folders(run_dir, run):
    """A run's folders keep their names: a second run beside the first would write over its logs."""
    former = RunConfig.of_folder(run_dir)
    if former is None:
        return
    names = [f"--{name} {getattr(former, name)}" for name in FOLDERS if getattr(former, name) != getattr(run, name)]
    if names:
        raise UsageError(f"{run_dir} holds a run with {' '.join(names)}. Give the same, or another --run_dir.")


def _initialize(model, path):
    """Give a new model the weights of a checkpoint of the same shapes."""
    from ugatit_tf.ugatit import UGATIT

    path = find_source(path)
    source = UGATIT.load(path, ema=False)
    mine, theirs = dataclasses.asdict(model.config), dataclasses.asdict(source.config)
    fixed = all(net.fixed_size for net in (model.gen_a2b, *source.generators.values()))
    unseen = {"smoothing"} if fixed else {"smoothing", "img_size"}
    if not source.discriminators:
        unseen |= {"n_dis", "sn", "cam_d"}
    others = [name for name in mine if name not in unseen and mine[name] != theirs[name]]
    differences = [f"--{_flag(name)} {theirs[name]}" for name in others]
    if differences:
        raise UsageError(f"--init {path} holds another model. To begin from it, add: {' '.join(differences)}.")
    model.set_arrays({**model.arrays(), **source.arrays()} if source.missing else source.arrays(), path)
    print(
        f"Weights from {path}.", f"It lacks {', '.join(source.missing)}: these start fresh." if source.missing else ""
    )


def _sample_drawer(dataset, size, fit, trainer):
    """A function that draws the sheets of both directions, always of the same images."""
    from ugatit_tf.inference.sheets import sample_sheet

    a = _load_images(dataset.train_a[:SAMPLES] + dataset.test_a[:SAMPLES], size, fit)
    b = _load_images(dataset.train_b[:SAMPLES] + dataset.test_b[:SAMPLES], size, fit)

    def draw():
        gen_a2b, gen_b2a = (trainer.sampling_generators[name] for name in ("gen_a2b", "gen_b2a"))
        return {"a2b": sample_sheet(a, gen_a2b, gen_b2a), "b2a": sample_sheet(b, gen_b2a, gen_a2b)}

    return draw


def _held_out_scorer(held_out, run, trainer):
    """A function that scores the trainer's generators, and their averages, on held-out images."""
    import tensorflow as tf

    from ugatit_tf.evaluation.features import load_features
    from ugatit_tf.evaluation.score import DOMAINS, Evaluator

    network = load_features(run.features)
    paths, fit = (held_out.test_a, held_out.test_b), run.data.fit
    evaluator = Evaluator([network], *paths, run.model.img_size, paired=False, fit=fit)
    kinds = {"": trainer.model.generators, "ema_": trainer.averages}
    generators = {
        f"{kind}kid_{direction}": (direction, tf.function(networks[f"gen_{direction}"]))
        for kind, networks in kinds.items()
        for direction in DOMAINS
        if networks
    }

    def score():
        scores = {
            name: evaluator.score(direction, generator)["features"][network.name]["kid"]
            for name, (direction, generator) in generators.items()
        }
        judged = [value for name, value in scores.items() if name.startswith("ema_") or not trainer.averages]
        return sum(judged) / len(judged), scores

    return score


def _test(command, values, arguments):
    named = values["words"] or values["checkpoint"]
    source = one_source(command, values) if named else find_source(_run_dir(values))
    folder, run = run_of(source)
    run_dir = pathlib.Path(values["run_dir"]) if values["run_dir"] else folder or _run_dir(values)
    # An official checkpoint does not tell its dataset: there the flags' defaults are those of the official codes.
    flags = {name: values[name] if command.given(name) or not run else None for name in ("dataset", "data_dir", "fit")}
    data = find_data(flags, source, "its test images are translated")
    given = {"result_dir": values["result_dir"]} if command.given("result_dir") else {}
    try:
        result_dir = dataclasses.replace(run or RunConfig(), **given).result_dir
    except ValueError as error:
        raise UsageError(error) from error

    find_gpus()
    import tensorflow as tf

    from ugatit_tf.data import pipeline
    from ugatit_tf.inference.translate import translate_folders
    from ugatit_tf.ugatit import UGATIT

    model = UGATIT.load(source, **official_overrides(command, values, source))
    mine = dataclasses.asdict(model.config)
    given = {name: values[_flag(name)] for name in mine}
    asked = [name for name in mine if command.given(_flag(name)) and given[name] != mine[name]]
    others = [f"--{_flag(name)} {mine[name]}" for name in asked]
    if others:
        raise UsageError(f"{source} holds another model: {' '.join(others)}. Leave these flags out.")
    size = model.config.img_size
    directions = directions_of(model, DIRECTIONS)
    tests = {f"test{direction[0].upper()}": direction for direction in DIRECTIONS}
    roots = {name: os.path.join(data.path, name) for name, way in tests.items() if way in directions}  # of a URL, too
    there = [name for name, root in roots.items() if tf.io.gfile.isdir(os.fsencode(root))]
    dataset = find_dataset(data, need=there or list(roots))
    print(f"Translating with {source} ({model.config.flavor}, {size} px).", flush=True)
    if len(directions) < 2:
        print(f"It holds the generator of {directions[0]} alone: identity and cycle are white in the sheets.")
    networks = [model.generators.get(f"gen_{direction}") for direction in DIRECTIONS]
    generators = [net and tf.function(net, reduce_retracing=True) for net in networks]
    batches = {
        direction: pipeline.reading(pipeline.test_batches(paths, size, fit=data.fit)) if direction in directions else ()
        for direction, paths in zip(DIRECTIONS, (dataset.test_a, dataset.test_b), strict=True)
    }
    out_dir = run_dir / result_dir
    make_folder(out_dir, "--run_dir")
    counts = translate_folders(
        *generators,
        *batches.values(),
        out_dir,
        title=f"{model.config.title}: {data.dataset}",
        source_root_a=roots.get("testA"),
        source_root_b=roots.get("testB"),
    )
    with replacing(out_dir / "model.json") as file:
        head = {**provenance("train", arguments), "dataset": str(data.path), "images": counts, "size": [size, size]}
        head |= {"checkpoint": str(model.source), "step": model.step}
        digests = {name: network.weights_sha256() for name, network in model.generators.items()}
        head |= {"weights_sha256": digests, **dataclasses.asdict(model.config)}
        file.write(json.dumps(head, indent=1).encode() + b"\n")
    print(f"{count(counts['a2b'], 'image')} A to B, {counts['b2a']} B to A. Open {out_dir / 'index.html'}.")
    return 0
