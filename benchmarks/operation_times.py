"""Where a TensorFlow function's time goes on the CPU, by kind of operation, from TensorFlow's own profiler."""

import collections
import pathlib
import re
import tempfile

# The profiler's names of operations: NODE:KIND. It notes other things too, which have no such name.
_OPERATION = re.compile(r"([\w./-]+):([A-Z_]\w*)")
_CALLS = re.compile(r"Call$|^(Stateless)?(If|While|Case)$")  # their time is that of what they call

# The groups, in this order, by kind. oneDNN's and fused forms go with the plain ones.
_GROUPS = {
    "convolutions, forward": r"Conv2D",
    "convolutions, gradient at the input": r"Conv2DBackpropInput",
    "convolutions, gradient at the kernel": r"Conv2DBackpropFilter",
    "matrix products": r"(Batch)?MatMul(V\d)?",
    "optimizer": r"ResourceApply\w+",
    "padding, slicing, joining": (
        r"(Mirror)?Pad(V2)?|MirrorPadGrad|Slice|StridedSlice(Grad)?|Concat(V2)?|Split(V)?|Pack|Unpack|Tile|Transpose|"
        r"DepthToSpace|SpaceToDepth|Reshape|Reverse(V2)?|Gather(V2)?|BroadcastTo|ExpandDims|Squeeze|Fill|ZerosLike"
    ),
    "norms and other elementwise": (
        r"Mul|AddV2|Add|AddN|Sub|RealDiv|Div(NoNan)?|Neg|Square|SquaredDifference|Sqrt|SqrtGrad|Rsqrt|RsqrtGrad|Mean|"
        r"Sum|Max|Min|Maximum|Minimum|Relu|ReluGrad|LeakyRelu|LeakyReluGrad|Tanh|TanhGrad|Sigmoid|Softplus|Pow|Abs|Sign|"
        r"Greater\w*|Less\w*|Equal|SelectV2|Cast|BiasAdd(Grad)?|FusedBatchNorm\w*|ClipByValue|Exp|Log"
    ),
}
_SPECTRAL = "spectral norm (the discriminators' matrix products)"
OTHER = "other"
GROUPS = (*list(_GROUPS)[:4], _SPECTRAL, *list(_GROUPS)[4:], OTHER)


def record(function):
    """Run a function once under the profiler.

    Args:
        function: takes nothing; its results have to be read inside, so that all work is done when it returns. Of one
            that ran about a hundred times before, TensorFlow no longer notes the operations that it found to be cheap.

    Returns:
        List of (node, kind, seconds), one for each operation that ran.
    """
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # part of TensorFlow's wheel

    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, options)
        function()
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(pathlib.Path(folder).rglob("*.xplane.pb")).read_bytes())
    operations = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                found = operation(plane.event_metadata[event.metadata_id].name)
                if found:
                    operations.append((*found, event.duration_ps * 1e-12))
    return operations


def operation(name):
    """(node, kind) of an event of the profiler; None if it is no operation, or one that only calls others."""
    match = _OPERATION.fullmatch(name)
    return match.groups() if match and not _CALLS.search(match[2]) else None


def plain(kind):
    """The kind of operation without what oneDNN and fusing add to its name."""
    return re.sub(r"^_(Mkl)?(Native)?(Fused)?", "", kind)


def group(node, kind):
    """The group that an operation's time is added to."""
    kind = plain(kind)
    for name, kinds in _GROUPS.items():
        if re.fullmatch(kinds, kind):
            return _SPECTRAL if name == "matrix products" and "dis_" in node else name
    return OTHER


def summarize(operations):
    """Shares of the operations' time, which two operations at once add to twice.

    Args:
        operations: of `record`.

    Returns:
        dict with `seconds` of all, and `groups` and `kinds`: lists of dicts with `name`, `share`, `seconds`, `count`;
        a kind also has its `group`. The kinds begin with the costliest.
    """
    total = sum(seconds for _, _, seconds in operations)
    groups, kinds = collections.defaultdict(list), collections.defaultdict(list)
    for node, kind, seconds in operations:
        name = group(node, kind)
        groups[name].append(seconds)
        kinds[plain(kind), name].append(seconds)

    def row(times):
        return {"share": sum(times) / total, "seconds": sum(times), "count": len(times)}

    rows = [{"name": kind, "group": name, **row(times)} for (kind, name), times in kinds.items()]
    return {
        "seconds": total,
        "groups": [{"name": name, **row(groups[name])} for name in GROUPS if name in groups],
        "kinds": sorted(rows, key=lambda kind: -kind["share"]),
    }


def table(summary, rows=25):
    """The summary as two Markdown tables: groups, and the costliest kinds."""
    lines = ["| group | share | operations |", "|---|---|---|"]
    lines += [f"| {row['name']} | {row['share']:.1%} | {row['count']} |" for row in summary["groups"]]
    lines += ["", "| kind of operation | share | operations | group |", "|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['share']:.1%} | {row['count']} | {row['group']} |" for row in summary["kinds"][:rows]
    ]
    return "\n".join(lines) + "\n"
