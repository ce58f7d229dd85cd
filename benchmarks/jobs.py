"""The single measurements of each part of `run.py`: a script, its arguments, and the interpreter that runs it."""

import dataclasses
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
PARTS = ("step", "inference", "pipeline", "start", "growth")
TFLITE = ("float32", "float16", "dynamic_range", "static_int8")
STEPS = {  # this project's, with what train_step.py is told
    "float32": (),
    "bfloat16": ("--precision=bfloat16",),
    "float32 remat": ("--remat",),
    "bfloat16 remat": ("--precision=bfloat16", "--remat"),
}
# Pictures of the input pipeline: side in pixels (None: the training size) and suffix.
PICTURES = {"JPEG": (None, ".jpg"), "PNG": (None, ".png"), "JPEG, 1024 px": (1024, ".jpg")}
RECORDS = "JPEG in TFRecords"


@dataclasses.dataclass(frozen=True)
class Job:
    """One measurement.

    Args:
        part, name: where its records go in the results.
        script: file in this folder.
        arguments: of the command line.
        python: the interpreter.
        repeated: whether it is part of every round, or of the first alone.
    """

    part: str
    name: str
    script: str
    arguments: tuple
    python: str = sys.executable
    repeated: bool = True

    @property
    def command(self):
        return [self.python, str(HERE / self.script), *self.arguments]


def plan(options, inputs):
    """All measurements of the parts that were asked for, in the order of a round.

    Args:
        options: of run.py.
        inputs: folders by name: `export`, `data_dir` (with the demo set), `RECORDS`, and each of `PICTURES`.
    """
    made = []
    if "step" in options.parts:
        made += _step(options, STEPS)
    elif "pipeline" in options.parts:  # which is compared with what a step takes
        made += _step(options, ("float32", "bfloat16"))
    for part, function in (("inference", _inference), ("pipeline", _pipeline), ("start", _start), ("growth", _growth)):
        if part in options.parts:
            made += function(options, inputs)
    return made


def model_arguments(options, **others):
    """The flags that say which model, for any of the scripts: `options`, with some values replaced."""
    values = {name: getattr(options, name) for name in ("flavor", "img_size", "ch", "threads")} | others
    light = values.pop("light", options.light)
    return (*(f"--{name}={value}" for name, value in values.items()), *(["--light"] * light))


def _step(options, names):
    common = (
        *model_arguments(options, n_dis=options.n_dis, batch_size=options.batch_size, steps=options.steps),
        "--flops",
    )
    threads, sizes = f"--threads={options.threads}", f"--sizes={options.matmul_sizes}"
    whole = "step" in options.parts
    if options.pytorch and whole:
        yield Job("step", "official", "train_step.py", (*common, f"--pytorch={options.pytorch}"), options.torch_python)
    for name in names:
        yield Job("step", name, "train_step.py", (*common, *STEPS[name]))
    if whole:
        for precision in ("float32", "bfloat16"):
            yield Job("step", f"peak {precision}", "matmul.py", (threads, sizes, f"--precision={precision}"))
        if options.pytorch:
            arguments = (threads, sizes, "--framework=pytorch")
            yield Job("step", "peak float32, PyTorch", "matmul.py", arguments, options.torch_python)


def _inference(options, inputs):
    common = (*model_arguments(options), f"--runs={options.runs}")
    if options.pytorch:
        arguments = (*common, f"--pytorch={options.pytorch}")
        yield Job("inference", "official", "inference.py", arguments, options.torch_python)
    yield Job("inference", "Keras", "inference.py", ("keras", *common))
    files = exported(inputs["export"])
    for name in ("SavedModel", *TFLITE):
        if name in files:
            yield Job("inference", name, "inference.py", (str(files[name]), *common))


def exported(folder):
    """The files of one generator (the first, where there are several) in an export's folder, by kind."""
    folder = pathlib.Path(folder)
    models = sorted(
        folder.glob("*_?2?/*/saved_model.pb"), key=lambda path: (path.parent.parent, -int(path.parent.name))
    )
    files = {"SavedModel": models[0].parent} if models else {}
    for kind in TFLITE:
        paths = sorted(folder.glob(f"*_?2?_{kind}.tflite"))
        files |= {kind: paths[0]} if paths else {}
    return files


def _pipeline(options, inputs):
    words = {name: getattr(options, name) for name in ("img_size", "batch_size", "flavor", "threads")}
    words["seconds"] = options.pipeline_seconds
    for name in (*PICTURES, RECORDS):
        arguments = (str(inputs[name]), *(f"--{word}={value}" for word, value in words.items()))
        yield Job("pipeline", name, "input_pipeline.py", arguments)


def _start(options, inputs):
    common = (*model_arguments(options, n_dis=options.n_dis), f"--data_dir={inputs['data_dir']}")
    yield Job("start", "images checked before", "start_up.py", common)
    yield Job("start", "images not yet checked", "start_up.py", (*common, "--forget"))


def growth_settings(options):
    """The settings of the growth's curves: (curve, value on its axis, what differs from the options)."""
    size = options.img_size
    settings = [("image size", value, {"img_size": value}) for value in options.growth_sizes]
    settings += [("ch", value, {"ch": value}) for value in options.growth_channels]
    # At half the size, where the largest batch still fits into memory.
    settings += [("batch", value, {"batch_size": value, "img_size": size // 2}) for value in options.growth_batches]
    settings += [
        ("image size, full", value, {"img_size": value, "light": False}) for value in options.growth_full_sizes
    ]
    return settings


def growth_name(changes, options):
    """The name of a measurement of the growth; curves that cross share one."""
    values = {name: getattr(options, name) for name in ("img_size", "ch", "batch_size")} | {"light": True} | changes
    kind = "light" if values["light"] else "full"
    return f"{kind}, {values['img_size']} px, ch {values['ch']}, batch {values['batch_size']}"


def _growth(options, inputs):
    made = {}
    for _, _, changes in growth_settings(options):
        values = {"light": True, "n_dis": options.n_dis, "batch_size": options.batch_size, "steps": options.steps}
        arguments = model_arguments(options, **(values | changes))
        name = growth_name(changes, options)
        made.setdefault(name, Job("growth", name, "train_step.py", arguments, repeated=False))
    return list(made.values())
