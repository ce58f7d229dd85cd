"""The proof: it passes what is equal, fails what has drifted, and says so in a table."""

import dataclasses
import math

import numpy as np
import pytest

from ugatit_tf.export import saved_model, tflite, verify

PROOF = verify.Proof("x.tflite", "float16", 1.25, 71.23, 1, 0, {1: 12.4, 2: 7.6}, 1)


@pytest.mark.parametrize(("kind", "bound"), verify.BOUNDS.items())
def test_bounds(kind, bound):
    at = dataclasses.replace(PROOF, kind=kind, psnr=bound)
    assert at.faults() == []
    for worse in (bound - 0.01, math.nan) if math.isfinite(bound) else (140.0, math.nan):
        (fault,) = dataclasses.replace(at, psnr=worse).faults()
        assert fault == f"x.tflite: {worse:.1f} dB, where {kind} must reach {bound:.0f} dB"
    (fault,) = dataclasses.replace(at, own_levels=2).faults()
    assert fault == "x.tflite: its uint8 signature is 2 grey levels off its float signature"


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_generator, description):
    """Kind to path, of one generator."""
    folder = tmp_path_factory.mktemp("files")
    saved_model.write(folder / "saved", make_generator(), "x", description)
    (folder / "x.tflite").write_bytes(tflite.convert(make_generator(), "float32", (16, 16), description))
    return {"saved_model": folder / "saved", "float32": folder / "x.tflite"}


def measure(kind, path, generator, pictures):
    if kind == "saved_model":
        return verify.measure_saved_model(path, "x", generator, pictures)
    return verify.measure_tflite(path, kind, generator, pictures)


@pytest.mark.parametrize("kind", ["saved_model", "float32"])
def test_equal_passes_and_drift_fails(files, kind, make_generator, pictures):
    generator = make_generator()
    proof = measure(kind, files[kind], generator, pictures)
    assert proof.faults() == []
    assert proof.levels <= 1
    assert set(proof.milliseconds) == {1, 2}
    assert proof.partitions == (None if kind == "saved_model" else 1)
    assert 0.01 < proof.megabytes < 5

    kernel = generator.out_conv.kernel
    kernel.assign(kernel * 1.001)
    (fault,) = measure(kind, files[kind], generator, pictures).faults()
    assert "must reach 100 dB" in fault


def test_psnr_is_pooled_over_the_images(files, make_generator, pictures):
    """One bad image among good ones counts: the mean is that of the squared errors, not of the decibels."""
    generator = make_generator()
    expected = generator(np.float32(pictures) / 127.5 - 1, training=False)[0].numpy()
    floats = list(expected + np.float32([0.0, 0.2])[:, None, None, None])
    levels = [np.clip(np.floor(image * 127.5 + 128), 0, 255).astype(np.uint8) for image in floats]

    def answer(name, image):
        return (floats if name == "float" else levels).pop(0)[None]

    psnr, _, own_levels = verify._compare(generator, pictures, answer)
    assert psnr == pytest.approx(10 * math.log10(4 / (0.2**2 / 2)), abs=0.01)
    assert own_levels <= 1


def test_weights_are_compared_bit_for_bit(tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_bytes(bytes(1_500_000))
    expected = {"a": np.float32([1, 2]), "b": np.float32([0.0])}
    assert verify.measure_weights(path, "weights", dict(expected), expected).faults() == []
    for other in ({**expected, "b": np.float32([-0.0])}, {"a": expected["a"]}, {**expected, "c": expected["a"]}):
        assert verify.measure_weights(path, "weights", other, expected).faults()


def test_table():
    proof = dataclasses.replace(PROOF, images="50 of testA")
    weights = dataclasses.replace(PROOF, file="x.weights.h5", psnr=math.inf, milliseconds={}, partitions=None)
    assert verify.table([proof, weights]).splitlines() == [
        "| file         | MB  | PSNR | error | ms 1 | ms 2 | parts |",
        "| ------------ | --- | ---- | ----- | ---- | ---- | ----- |",
        "| x.tflite     | 1.2 | 71.2 | 1     | 12   | 8    | 1     |",
        "| x.weights.h5 | 1.2 | inf  | 1     |      |      |       |",
        "",
        "PSNR in dB and largest error in grey levels, against the trained generator.",
        "Tried on 50 of testA.",
        "ms 1: milliseconds of an image with 1 thread.",
        "ms 2: milliseconds of an image with 2 threads.",
        "parts: into which XNNPACK divides a file; 1 is the fastest.",
    ]


def test_a_table_fits_a_terminal():
    proof = dataclasses.replace(PROOF, file="ugatit_a2b_dynamic_range.tflite", images="50 of testA", psnr=101.2)
    proof = dataclasses.replace(proof, milliseconds={1: 1234.0, 2: 800.0})
    assert max(len(line) for line in verify.table([proof, proof]).splitlines()) <= 80
