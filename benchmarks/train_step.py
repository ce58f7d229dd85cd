"""Time and peak memory of one training step, of this project or of the official PyTorch code, in a process of its own.

    python benchmarks/train_step.py --light --precision bfloat16
    python benchmarks/train_step.py --light --official PATH/TO/UGATIT-pytorch     # needs torch, and that checkout

Run the two in turn on an otherwise idle machine and compare the printed lines: JSON with the seconds of each step,
their median without the first, and the peak resident memory (VmHWM) in MiB after all steps.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import sys
import time

import numpy as np


def ours(options):
    """A function that does one step of this project."""
    import ugatit_tf

    model = ugatit_tf.UGATIT(
        ugatit_tf.ModelConfig(
            flavor=options.flavor, light=options.light, ch=options.ch, img_size=options.img_size, n_dis=options.n_dis
        )
    )
    trainer = ugatit_tf.Trainer(model, ugatit_tf.TrainConfig(precision=options.precision))
    a, b = images(options, channels_last=True)
    return lambda: float(trainer.step(a, b)["g_loss"])


def official(options):
    """A function that does one step of the official PyTorch code: its networks, and its update in its order."""
    sys.path.insert(0, options.official)
    import networks
    import torch

    torch.manual_seed(0)
    layers = {"G": options.n_dis + 1, "L": options.n_dis - 1}
    gens = {
        name: networks.ResnetGenerator(3, 3, options.ch, 4, options.img_size, options.light) for name in ("A2B", "B2A")
    }
    dis = {d + x: networks.Discriminator(3, options.ch, layers[d]) for x in "AB" for d in "GL"}
    optimizers = [
        torch.optim.Adam(
            itertools.chain(*(net.parameters() for net in nets.values())), 1e-4, betas=(0.5, 0.999), weight_decay=1e-4
        )
        for nets in (dis, gens)
    ]
    l1, mse, bce = torch.nn.L1Loss(), torch.nn.MSELoss(), torch.nn.BCEWithLogitsLoss()
    clipper = networks.RhoClipper(0, 1)
    real_a, real_b = (torch.from_numpy(x) for x in images(options, channels_last=False))

    def like(loss, logits, label):
        return loss(logits, torch.full_like(logits, label))

    def step():
        optimizers[0].zero_grad()
        fake_b, fake_a = gens["A2B"](real_a)[0], gens["B2A"](real_b)[0]
        loss = 0
        for domain, real, fake in (("A", real_a, fake_a), ("B", real_b, fake_b)):
            judged = {d: (dis[d + domain](real), dis[d + domain](fake)) for d in "GL"}
            for on_real, on_fake in judged.values():
                loss += sum(like(mse, on_real[i], 1.0) + like(mse, on_fake[i], 0.0) for i in (0, 1))
        loss.backward()  # as there: the translated images are not detached
        optimizers[0].step()

        optimizers[1].zero_grad()
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
        optimizers[1].step()
        for net in gens.values():
            net.apply(clipper)
        return float(loss)

    return step


def images(options, channels_last):
    """Two random batches of one image, float32 in [-1, 1]."""
    shape = (1, options.img_size, options.img_size, 3) if channels_last else (1, 3, options.img_size, options.img_size)
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, shape).astype("float32") for _ in range(2)]


def main():
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", help="checkout of the official PyTorch code to measure instead of this project")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--flavor", default="pytorch")
    parser.add_argument("--img_size", type=int, default=256)
    parser.add_argument("--ch", type=int, default=64)
    parser.add_argument("--n_dis", type=int, default=6)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    step = official(options) if options.official else ours(options)
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    status = pathlib.Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    record = {"implementation": "official PyTorch" if options.official else "ugatit_tf", **vars(options)}
    record |= {"seconds": [round(s, 3) for s in seconds], "median": round(statistics.median(seconds[1:]), 3)}
    print(json.dumps({**record, "peak_mib": round(peak)}))


if __name__ == "__main__":
    main()
