"""What several devices gain, computed: step time, gradient bytes and link speed give the efficiency, as Markdown.

    python benchmarks/scaling.py                 # both models
    python benchmarks/scaling.py --light --workers 2 8 --seconds 0.1

A step of every worker takes `seconds`; then the gradients are added up over all of them. In a ring of n workers each
sends and receives 2 (n - 1) / n times the gradients' bytes:

    communication = 2 (n - 1) / n * 4 bytes * weights / link speed
    efficiency    = seconds / (seconds + communication)

n workers do n * efficiency times the work of one. Nothing is measured, and no overlap of computing and communication
is assumed. The link speeds are nominal, in one direction; what a program gets of them is less.
"""

import argparse

LINKS = {  # bytes a second
    "1 Gb/s Ethernet": 0.125e9,
    "10 Gb/s Ethernet": 1.25e9,
    "25 Gb/s Ethernet": 3.125e9,
    "100 Gb/s InfiniBand": 12.5e9,
    "PCIe 4 x16": 31.5e9,
    "NVLink 4": 450e9,
}
WORKERS = (2, 8)
SECONDS = (12.0, 0.5, 0.1)


def count_weights(config):
    """Weights whose gradients are exchanged in a step: of the generators, and of the discriminators.

    Args:
        config: `ugatit_tf.ModelConfig`.
    """
    from ugatit_tf.training.memory import count_params

    counts = count_params(config)
    generators = sum(count for name, count in counts.items() if name.startswith("gen"))
    return generators, sum(counts.values()) - generators


def communication(weights, workers, speed):
    """Seconds in which a ring of workers adds up float32 gradients.

    Args:
        weights: their number.
        workers: in the ring.
        speed: of each link in one direction, in bytes a second.
    """
    return 2 * (workers - 1) / workers * 4 * weights / speed


def efficiency(seconds, waiting):
    """The share of the time in which a worker computes."""
    return seconds / (seconds + waiting)


def report(models, workers=WORKERS, seconds=SECONDS):
    """The tables.

    Args:
        models: dict of a model's name to its weights, (generators, discriminators).
        workers: numbers of them.
        seconds: step times.

    Returns:
        Markdown.
    """
    rows = [
        "| model | weights of the generators | of the discriminators | gradients of a step |",
        "|---|---|---|---|",
    ]
    for name, counts in models.items():
        rows.append(f"| {name} | {counts[0]:,} | {counts[1]:,} | {4 * sum(counts) / 1e6:,.0f} MB |")
    for name, counts in models.items():
        for count in workers:
            moved = communication(sum(counts), count, 1e6)  # 1 MB/s, so MB
            rows += ["", f"{name}, {count} workers: each sends and receives {moved:,.0f} MB a step.", ""]
            rows += ["| link | communication | " + " | ".join(f"step of {step:g} s" for step in seconds) + " |"]
            rows += ["|---" * (2 + len(seconds)) + "|"]
            for link, speed in LINKS.items():
                waiting = communication(sum(counts), count, speed)
                shares = " | ".join(f"{efficiency(step, waiting):.0%}" for step in seconds)
                rows.append(f"| {link} | {waiting:.2g} s | {shares} |")
    return "\n".join(rows)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--light", action="store_true", help="the light model alone")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="their number (default: 2 8)")
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS, help="step times (default: 12 0.5 0.1)")
    options = parser.parse_args()

    from ugatit_tf.config import ModelConfig

    kinds = {"light": True} if options.light else {"light": True, "full": False}
    models = {name: count_weights(ModelConfig(light=light)) for name, light in kinds.items()}
    print(report(models, options.workers, options.seconds))


if __name__ == "__main__":
    main()
