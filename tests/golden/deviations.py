"""Measures how far the official codes are from themselves in double precision, and writes `deviations.json` of a set.

    python tests/golden/deviations.py SET CHECKOUT      SET: tf1_light, tf1_full, pytorch_light or pytorch_full

The official code of the set is run in float64, and in float32 with each of several convolution kernels and with
weights moved by about two units in their last place, which stands for the rounding of another program. Of each
quantity in `golden.npz` the file holds how far each float32 run is from float64, by group, and a bound for a port:
`FACTOR` times the largest deviation. Before the first update that is two: a port that rounds no worse than the
official code is at most as far on the other side of float64. Adam turns the rounding of small gradients into steps of
a whole learning rate; what follows, and gradients, where an activation at the kink of a ReLU can change sides, varies
more than nine runs show: five. Needs an environment of its own: PyTorch 2.13 with numpy and a checkout of
znxlwm/UGATIT-pytorch, or tensorflow-cpu 2.15.1 and one of taki0112/UGATIT. Both codes run unmodified, with recorded
batches in place of their data loaders and empty modules for packages that these runs do not use.
"""

import argparse
import importlib.abc
import importlib.machinery
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types

import numpy as np

HERE = pathlib.Path(__file__).parent
CHECKPOINTS = {
    "tf1_light": "UGATIT_light.model-1",
    "tf1_full": "UGATIT.model-1",
    "pytorch_light": "params_0000000.pt",
    "pytorch_full": "params_0000000.pt",
}
FACTOR = {"forward": 2, "loss/step1": 2}
OTHER_FACTOR = 5
PERTURBATION = 2e-7  # relative, of every weight: one or two units in the last place of a float32
ROUNDED = 1e-4  # a gradient below this share of its network's largest entry is rounding: its tensor is not compared

RUNS = {
    "float64": {},
    "default kernels": {},
    "oneDNN limited to AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "oneDNN limited to SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0", "ATEN_CPU_CAPABILITY": "avx2"},
    "weights moved, 1": {"MOVED": "1"},
    "weights moved, 2": {"MOVED": "2"},
    "weights moved, 3": {"MOVED": "3"},
    "weights moved, 4": {"MOVED": "4"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=CHECKPOINTS)
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("--run", choices=RUNS, help="make this run alone, into the file --out")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.run:
        run_official(arguments)
    else:
        measure(arguments)


def measure(arguments):
    """Make every run in a process of its own, and write what they say."""
    golden = dict(np.load(HERE / arguments.set / "golden.npz"))
    with tempfile.TemporaryDirectory() as folder:
        values = {}
        for name, settings in RUNS.items():
            out = pathlib.Path(folder) / f"{len(values)}.npz"
            command = [
                sys.executable,
                __file__,
                arguments.set,
                str(arguments.checkout),
                "--run",
                name,
                "--out",
                str(out),
            ]
            subprocess.run(command, env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1", **settings}, check=True)
            values[name] = dict(np.load(out))
    truth = values.pop("float64")
    values["golden.npz"] = golden
    groups = {name: deviations({key: run[key] for key in golden}, truth) for name, run in values.items()}
    worst = {key: max(of_run[key] for of_run in groups.values()) for key in groups["golden.npz"]}
    tensors = {name: gradient_errors(run, truth) for name, run in values.items()}
    result = {
        "bound": {key: float(f"{FACTOR.get(key, OTHER_FACTOR) * value:.2g}") for key, value in worst.items()},
        "gradients": {
            key: float(f"{OTHER_FACTOR * max(tensors[name][key] for name in tensors):.2g}")
            for key in tensors["golden.npz"]
        },
        "runs": {name: {k: float(f"{v:.3g}") for k, v in of_run.items()} for name, of_run in groups.items()},
    }
    path = HERE / arguments.set / "deviations.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def group_of(key):
    """The group of a key of golden.npz: `forward`, `loss/step1`, `grad`, `after3`; None: an input."""
    parts = key.split("/")
    return "/".join(parts[:2]) if parts[0] == "loss" else parts[0] if len(parts) > 1 else None


def deviations(run, truth):
    """The largest deviation by group.

    Of arrays relative to their largest entry, of losses relative to themselves, of the generator's gradients relative
    to the largest entry of them all, and of the images after three steps in their own unit ([-1, 1]), largest and mean.
    """
    worst, largest = {}, largest_gradients(truth)

    def note(group, value):
        worst[group] = float(max(worst.get(group, 0.0), value))

    for key, value in run.items():
        group, true = group_of(key), truth[key]
        error = np.abs(value.astype(np.float64) - true)
        if group == "after3":
            note("after3 mean", error.mean())
            note(group, error.max())
        elif group == "grad":
            network = key.split("/")[1]
            if network.startswith("gen"):
                note(group, error.max() / largest[network])
        elif group:
            note(group, error.max() / np.abs(true).max())
    return worst


def largest_gradients(truth):
    """The largest gradient entry of each network."""
    largest = {}
    for key, value in truth.items():
        if group_of(key) == "grad":
            network = key.split("/")[1]
            largest[network] = max(largest.get(network, 0.0), np.abs(value).max())
    return largest


def gradient_errors(run, truth):
    """The largest deviation of each gradient, relative to its own largest entry; rounding alone is left out."""
    largest = largest_gradients(truth)
    return {
        key.removeprefix("grad/"): np.abs(run[key].astype(np.float64) - truth[key]).max() / np.abs(truth[key]).max()
        for key in truth
        if group_of(key) == "grad" and np.abs(truth[key]).max() > ROUNDED * largest[key.split("/")[1]]
    }


# ------------------------------------------------------------------------------------------------ the official codes


class _Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for packages that the official files import and these runs do not use."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        known = name.split(".")[0] in self.names or name in self.names
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: type(name, (), {}) if not name.startswith("__") else _missing(name)
        return module

    def exec_module(self, module):
        pass


def _missing(name):
    raise AttributeError(name)


def moved(array):
    """A weight, moved in the runs that ask for it."""
    array = np.asarray(array)
    if "MOVED" not in os.environ or array.dtype != np.float32:
        return array
    moved.draws = getattr(moved, "draws", None) or np.random.RandomState(int(os.environ["MOVED"]))
    return (array.astype(np.float64) * (1 + PERTURBATION * moved.draws.standard_normal(array.shape))).astype(np.float32)


def run_official(arguments):
    golden = dict(np.load(HERE / arguments.set / "golden.npz"))
    sys.path.insert(0, str(arguments.checkout))
    official = run_tf1 if arguments.set.startswith("tf1") else run_pytorch
    values = official(arguments.set, golden, arguments.run)
    missing = sorted(set(golden) - set(values) - {"real_A", "real_B"})
    if missing:
        raise SystemExit(f"These were not computed: {missing}")
    np.savez(arguments.out, **{key: values[key] for key in golden if key in values}, real_A=0, real_B=0)


def run_pytorch(name, golden, run):
    sys.meta_path.append(_Empty("torchvision", "cv2", "scipy", "PIL"))
    import torch

    double = run == "float64"
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    if run == "without oneDNN":
        torch.backends.mkldnn.enabled = False
    import networks
    import UGATIT as official  # noqa: N811

    model = object.__new__(official.UGATIT)
    light = name.endswith("light")
    vars(model).update(
        light=light, lr=1e-4, weight_decay=1e-4, decay_flag=False, resume=False, iteration=3, print_freq=10**9,
        save_freq=10**9, adv_weight=1, cycle_weight=10, identity_weight=10, cam_weight=1000, device="cpu",
        result_dir=".", dataset="none", img_size=128, ch=2, n_res=2 if light else 4, batch_size=2,
    )  # fmt: skip
    states = torch.load(HERE / name / CHECKPOINTS[name], weights_only=True)
    nets = {}
    for key, state in states.items():
        if key.startswith("gen"):
            net = networks.ResnetGenerator(3, 3, ngf=2, n_blocks=model.n_res, img_size=128, light=light)
        else:
            net = networks.Discriminator(3, ndf=2, n_layers=7 if key[3] == "G" else 5)
        net.load_state_dict({k: torch.from_numpy(moved(v.numpy())) for k, v in state.items()})
        nets[key] = net.to(torch.get_default_dtype())
        setattr(model, key, nets[key])
    for loss, kind in (("L1_loss", "L1Loss"), ("MSE_loss", "MSELoss"), ("BCE_loss", "BCEWithLogitsLoss")):
        setattr(model, loss, getattr(torch.nn, kind)())

    def adam(*names):
        parameters = [p for key in names for p in nets[key].parameters()]
        return torch.optim.Adam(parameters, lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4)

    model.G_optim, model.D_optim = adam("genA2B", "genB2A"), adam("disGA", "disGB", "disLA", "disLB")
    model.Rho_clipper = networks.RhoClipper(0, 1)
    values = {}

    def images(key):
        return torch.from_numpy(golden[key]).permute(0, 3, 1, 2).to(torch.get_default_dtype())

    def array(tensor):
        return tensor.detach().permute(*((0, 2, 3, 1) if tensor.dim() == 4 else range(tensor.dim()))).numpy().copy()

    for key, net in nets.items():
        net.eval()
        real = images("real_A" if key in ("genA2B", "disGA", "disLA") else "real_B")
        with torch.no_grad():
            kinds = ("image" if key.startswith("gen") else "logit", "cam_logit", "heatmap")
            for kind, value in zip(kinds, net(real), strict=True):
                golden_shape = golden[f"forward/{key}/{kind}"].shape
                values[f"forward/{key}/{kind}"] = array(value).reshape(golden_shape)

    class Loader:
        def __init__(self, key):
            self.batch = images(key), None

        def __iter__(self):
            return self

        def next(self):
            return self.batch

        __next__ = next

    model.trainA_loader, model.trainB_loader = Loader("real_A"), Loader("real_B")
    for optimizer, prefix in ((model.D_optim, "dis"), (model.G_optim, "gen")):

        def step(original=optimizer.step, prefix=prefix, first=[True]):  # noqa: B006
            if first:
                first.clear()
                for key, net in nets.items():
                    if key.startswith(prefix):
                        for parameter, tensor in net.named_parameters():
                            values[f"grad/{key}/{parameter}"] = tensor.grad.numpy().copy()
            return original()

        optimizer.step = step

    def note(*words):
        variables = sys._getframe(1).f_locals
        if "step" not in variables:
            return
        prefix = f"loss/step{variables['step']}/"
        for key in golden:
            if key.startswith(prefix):
                term = key.removeprefix(prefix)
                player, _, rest = term.partition("_")
                if term in "DG":
                    local = {"D": "Discriminator_loss", "G": "Generator_loss"}[term]
                elif rest in ("A", "B"):
                    local = f"{player}_loss_{rest}"
                else:
                    kind, _, place = rest.rpartition("_")
                    local = f"{player}_{kind.replace('cycle', 'recon')}_loss_{place}"
                values[key] = np.float64(variables[local].item())

    official.print = note
    with tempfile.TemporaryDirectory() as folder:
        model.result_dir = folder
        os.makedirs(os.path.join(folder, "none", "model"))
        model.train()
    for key, real in (("genA2B", "real_A"), ("genB2A", "real_B")):
        nets[key].eval()
        with torch.no_grad():
            values[f"after3/{key}/image"] = array(nets[key](images(real))[0])
    return values


def run_tf1(name, golden, run):
    import tensorflow

    tf = tensorflow.compat.v1
    tf.disable_v2_behavior()
    dtype = tf.float64 if run == "float64" else tf.float32
    _stand_in_for_tf1(tf, dtype)
    import UGATIT as official  # noqa: N811

    model = object.__new__(official.UGATIT)
    vars(model).update(
        light=name.endswith("light"), phase="train", img_size=128, img_ch=3, augment_flag=False, dataset_num=1,
        batch_size=2, gan_type="lsgan", adv_weight=1, cycle_weight=10, identity_weight=10, cam_weight=1000, ld=10.0,
        smoothing=True, n_res=4, n_dis=6, n_critic=1, sn=True, ch=2, trainA_dataset="real_A", trainB_dataset="real_B",
    )  # fmt: skip
    batches = [tf.constant(golden[key].astype(dtype.as_numpy_dtype)) for key in ("real_A", "real_B")]
    waiting = list(batches)

    class Images:
        def apply(self, *words):
            return self

        def make_one_shot_iterator(self):
            return self

        def get_next(self):
            return waiting.pop(0)

    tf.data.Dataset.from_tensor_slices = lambda paths: Images()
    variables = {}

    def profile(frame, event, argument):
        if event == "return" and frame.f_code.co_name == "build_model":
            variables.update(frame.f_locals)

    sys.setprofile(profile)
    model.build_model()
    sys.setprofile(None)
    discriminators = [v for v in tf.trainable_variables() if "discriminator" in v.op.name]
    generators = [v for v in tf.trainable_variables() if "generator" in v.op.name]
    forward = {}
    with tf.variable_scope("", reuse=True):
        for key, real in (("generator_B", batches[0]), ("generator_A", batches[1])):
            image, cam_logit, heatmap = model.generator(real, reuse=True, scope=key)
            forward |= {f"{key}/image": image, f"{key}/cam_logit": cam_logit, f"{key}/heatmap": heatmap}
        for domain, real in zip("AB", batches, strict=True):
            logits, cams, *_ = model.discriminator(real, reuse=True, scope=f"discriminator_{domain}")
            for depth, logit, cam in zip(("local", "global"), logits, cams, strict=True):
                forward |= {f"discriminator_{domain}/{depth}/logit": logit}
                forward |= {f"discriminator_{domain}/{depth}/cam_logit": cam}
    d_losses = {"D": model.Discriminator_loss, "reg_D": official.regularization_loss("discriminator")}
    g_losses = {"G": model.Generator_loss, "reg_G": official.regularization_loss("generator")}
    for domain, other in ("AB", "BA"):
        d_losses[f"D_{domain}"] = variables[f"Discriminator_{domain}_loss"]
        g_losses |= {
            f"G_{domain}": variables[f"Generator_{domain}_loss"],
            f"G_ad_{domain}": variables[f"G_ad_loss_{domain}"],
            f"G_cam_{domain}": variables[f"cam_{domain}"],
            f"G_identity_{domain}": variables[f"identity_{domain}"],
            f"G_cycle_{domain}": variables[f"reconstruction_{other}"],
        }
    gradients = {}
    for loss, weights in ((model.Discriminator_loss, discriminators), (model.Generator_loss, generators)):
        gradients[loss] = {f"grad/{v.op.name}": g for v, g in zip(weights, tf.gradients(loss, weights), strict=True)}
    values = {}
    reader = tf.train.load_checkpoint(str(HERE / name / CHECKPOINTS[name]))
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # TensorFlow 2.15's crashes on this graph
    with tf.Session(config=config) as session:
        session.run(tf.global_variables_initializer())
        for variable in tf.global_variables():
            if "Adam" not in variable.op.name and "beta" not in variable.op.name.split("/")[0]:
                start = moved(reader.get_tensor(variable.op.name)).astype(dtype.as_numpy_dtype)
                session.run(variable.initializer, {variable.initializer.inputs[1]: start})
        values |= {f"forward/{key}": value for key, value in session.run(forward).items()}
        feed = {model.lr: 1e-4}
        for step in (1, 2, 3):
            for losses, loss, train in (
                (d_losses, model.Discriminator_loss, model.D_optim),
                (g_losses, model.Generator_loss, model.G_optim),
            ):
                fetched = session.run([losses, gradients[loss] if step == 1 else []])
                values |= {f"loss/step{step}/{key}": np.float64(value) for key, value in fetched[0].items()}
                values |= fetched[1] if step == 1 else {}
                session.run(train, feed)
        for key, value in (("generator_B", model.fake_B), ("generator_A", model.fake_A)):
            values[f"after3/{key}/image"] = session.run(value)
    return values


def _stand_in_for_tf1(tf, dtype):
    """`import tensorflow` gives TensorFlow 1's names; of contrib what the official code uses, by its definition."""
    get_variable, constant = tf.get_variable, tf.constant

    def in_dtype(name, shape=None, *words, **more):
        more.pop("dtype", None)
        return get_variable(name, shape, dtype, **more)

    def instance_norm(x, epsilon, center, scale, scope):
        with tf.variable_scope(scope):
            gamma = in_dtype("gamma", [x.shape[-1]], initializer=tf.ones_initializer())
            beta = in_dtype("beta", [x.shape[-1]], initializer=tf.zeros_initializer())
            mean, variance = tf.nn.moments(x, [1, 2], keep_dims=True)
            return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)

    tf.get_variable = in_dtype
    tf.constant = lambda value, *words, **more: constant(
        value, *(words or ([dtype] if isinstance(value, float) and "dtype" not in more else [])), **more
    )
    contrib = types.ModuleType("tensorflow.contrib")
    contrib.__path__ = []
    contrib.layers = types.SimpleNamespace(
        l2_regularizer=lambda scale: lambda weight: scale * tf.nn.l2_loss(weight), instance_norm=instance_norm
    )
    contrib.slim = None
    data = types.ModuleType("tensorflow.contrib.data")
    data.prefetch_to_device = data.shuffle_and_repeat = data.map_and_batch = lambda *words, **more: None
    tf.contrib = contrib
    sys.modules |= {"tensorflow": tf, "tensorflow.contrib": contrib, "tensorflow.contrib.data": data}
    sys.meta_path.append(_Empty("cv2"))


if __name__ == "__main__":
    main()
