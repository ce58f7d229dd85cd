"""Time and peak memory of one training step, of this project or of the official PyTorch code, in a process of its own.

    python benchmarks/train_step.py --light --precision bfloat16
    python benchmarks/train_step.py --light --remat
    python benchmarks/train_step.py --light --pytorch PATH/TO/UGATIT-pytorch     # needs torch, and that checkout
    python benchmarks/train_step.py --light --profile step                       # also writes step.json and step.md

Run them in turn on an otherwise idle machine (`benchmarks/run.py step` does that) and compare the printed lines: JSON
with the seconds and CPU seconds of each step, their medians without the first, the peak resident memory (VmHWM) in MiB
after all steps, and with --flops the floating-point operations of one step's convolutions and matrix products.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import pathlib
import sys

import measure


class Ours:
    """A step of this project."""

    def __init__(self, options):
        import ugatit_tf

        model, train = configurations(options)
        self.trainer = ugatit_tf.Trainer(ugatit_tf.UGATIT(model), train)
        self.images = images(options, channels_last=True)

    def __call__(self):
        return float(self.trainer.step(*self.images)["g_loss"])

    def graph(self):
        """Of the function that was traced for a step."""
        [traced] = self.trainer._train_step._function._list_all_concrete_functions()
        return traced.graph

    def flops(self):
        """Floating-point operations of a step."""
        import flops

        return flops.count(self.graph()).total()

    def gpu_peak_mib(self):
        """The most memory that TensorFlow has had on the first GPU, in MiB."""
        import tensorflow as tf

        return round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20)


class Official:
    """A step of the official PyTorch code: its networks, and its update in its order."""

    def __init__(self, options):
        torch, networks = measure.official(options.pytorch, options.threads)
        self.torch = torch
        torch.manual_seed(0)
        layers = {"G": options.n_dis + 1, "L": options.n_dis - 1}
        self.gens = {
            name: networks.ResnetGenerator(3, 3, options.ch, 4, options.img_size, options.light)
            for name in ("A2B", "B2A")
        }
        self.dis = {d + x: networks.Discriminator(3, options.ch, layers[d]) for x in "AB" for d in "GL"}
        self.optimizers = [
            torch.optim.Adam(
                itertools.chain(*(net.parameters() for net in nets.values())),
                1e-4,
                betas=(0.5, 0.999),
                weight_decay=1e-4,
            )
            for nets in (self.dis, self.gens)
        ]
        self.clipper = networks.RhoClipper(0, 1)
        self.real_a, self.real_b = (torch.from_numpy(x) for x in images(options, channels_last=False))

    def __call__(self):
        torch, gens, dis = self.torch, self.gens, self.dis
        real_a, real_b = self.real_a, self.real_b
        l1, mse, bce = torch.nn.L1Loss(), torch.nn.MSELoss(), torch.nn.BCEWithLogitsLoss()

        def like(loss, logits, label):
            return loss(logits, torch.full_like(logits, label))

        self.optimizers[0].zero_grad()
        fake_b, fake_a = gens["A2B"](real_a)[0], gens["B2A"](real_b)[0]
        loss = 0
        for domain, real, fake in (("A", real_a, fake_a), ("B", real_b, fake_b)):
            judged = {d: (dis[d + domain](real), dis[d + domain](fake)) for d in "GL"}
            for on_real, on_fake in judged.values():
                loss += sum(like(mse, on_real[i], 1.0) + like(mse, on_fake[i], 0.0) for i in (0, 1))
        loss.backward()  # as there: the translated images are not detached
        self.optimizers[0].step()

        self.optimizers[1].zero_grad()
        loss = 0
        (fake_b, cam_ab, _), (fake_a, cam_ba, _) = gens["A2B"](real_a), gens["B2A"](real_b)
        cycle_a, cycle_b = gens["B2A"](fake_b)[0], gens["A2B"](fake_a)[0]
        (same_a, cam_aa, _), (same_b, cam_bb, _) = gens["B2A"](real_a), gens["A2B"](real_b)
        for domain, fake, cycle, same, real, cam, cam_same in (
            ("A", fake_a, cycle_a, same_a, real_a, cam_ba, cam_aa),
            ("B", fake_b, cycle_b, same_b, real_b, cam_ab, cam_bb),
        ):
            for d in "GL":
                judged = dis[d + domain](fake)
                loss += like(mse, judged[0], 1.0) + like(mse, judged[1], 1.0)
            loss += 10 * l1(cycle, real) + 10 * l1(same, real)
            loss += 1000 * (like(bce, cam, 1.0) + like(bce, cam_same, 0.0))
        loss.backward()
        self.optimizers[1].step()
        for net in gens.values():
            net.apply(self.clipper)
        return float(loss.detach())

    def flops(self):
        """Floating-point operations of a step, which PyTorch counts while it does one."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self()
        return counter.get_total_flops()


def configurations(options):
    """The `ModelConfig` and the `TrainConfig` that are measured."""
    from ugatit_tf.config import ModelConfig, TrainConfig

    own = {name: _value(text) for name, _, text in (word.partition("=") for word in options.set)}
    known = {part: {field.name for field in dataclasses.fields(part)} for part in (ModelConfig, TrainConfig)}
    unknown = own.keys() - set.union(*known.values())
    if unknown:
        raise SystemExit(f"--set: {', '.join(sorted(unknown))} is no field of ModelConfig or TrainConfig.")
    values = vars(options) | own
    return [part(**{name: values[name] for name in names & values.keys()}) for part, names in known.items()]


def _value(text):
    """A number or a truth value, as JSON has them, else the text."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text


def images(options, channels_last):
    """Two random batches, float32 in [-1, 1]."""
    size = options.img_size
    shape = (size, size, 3) if channels_last else (3, size, size)
    return measure.picture((2, options.batch_size, *shape))


def write_profile(step, path, command):
    """Write where the time of a step goes, as PATH.json and PATH.md."""
    import operation_times

    summary = operation_times.summarize(operation_times.record(step))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.json").write_text(json.dumps({"command": command, **summary}, indent=1) + "\n")
    path.with_name(f"{path.name}.md").write_text(f"`{command}`\n\n{operation_times.table(summary)}")


def make_parser():
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pytorch", metavar="DIR", help="measure the official PyTorch code, of this checkout, instead")
    measure.add_model_flags(parser)
    parser.add_argument("--n_dis", type=int, default=6, help="depth of the discriminators (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=1, help="images of each domain (default: %(default)s)")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or float16 (default: %(default)s)")
    parser.add_argument("--remat", action="store_true", help="recompute the generator blocks in the backward pass")
    parser.add_argument(
        "--set",
        metavar="FIELD=VALUE",
        nargs="+",
        default=[],
        help="other fields of ModelConfig or TrainConfig, such as n_res=2 gan_type=wgan-gp (this project only)",
    )
    parser.add_argument("--steps", type=int, default=3, help="steps, the first included (default: %(default)s)")
    parser.add_argument("--flops", action="store_true", help="count the floating-point operations of a step")
    parser.add_argument("--gpu", action="store_true", help="on the GPU, and its peak memory, too (this project only)")
    parser.add_argument(
        "--profile", metavar="FILE", help="profile one more step, and write FILE.json and FILE.md (this project only)"
    )
    return parser


def main():
    """Measure, and print one line."""
    parser = make_parser()
    options = parser.parse_args()
    own = (options.profile, options.remat, options.set, options.gpu, options.precision != "float32")
    if options.pytorch and any(own):
        parser.error("--profile, --remat, --set, --gpu and --precision are of this project: not with --pytorch.")
    if options.steps < 2:
        parser.error(f"--steps must be at least 2, since the first has the compilation; received {options.steps}.")
    measure.prepare(options.threads, options.gpu)
    if options.gpu:
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            parser.error("--gpu: TensorFlow finds no GPU. TF_CPP_MIN_LOG_LEVEL=0 in the environment shows why.")
    step = Official(options) if options.pytorch else Ours(options)
    seconds, cpu_seconds = measure.time_calls(step, options.steps)
    record = {"implementation": "official PyTorch" if options.pytorch else "ugatit_tf", **vars(options)}
    record |= {"seconds": seconds, "median": round(measure.median_after_first(seconds), 4)}
    record |= {"cpu_seconds": cpu_seconds, "cpu_median": round(measure.median_after_first(cpu_seconds), 4)}
    record["peak_mib"] = measure.peak_mib()  # before what follows, which takes memory of its own
    if options.gpu:
        record["gpu_peak_mib"] = step.gpu_peak_mib()
    if options.flops:
        record["flops"] = step.flops()
    if options.profile:
        write_profile(step, pathlib.Path(options.profile), command())
    measure.finish(record)


def command():
    """The command line that is running, for what is written."""
    return " ".join(["python benchmarks/train_step.py", *sys.argv[1:]])


if __name__ == "__main__":
    main()
