"""faces.js: by node's own tests, and against the Python module that it mirrors."""

import subprocess

import numpy as np
import pytest
from web_page import HERE, find_node

from ugatit_tf.inference import faces
from ugatit_tf.inference.faces import FaceDetector
from ugatit_tf.inference.sheets import colour_heatmap
from ugatit_tf.inference.squares import FEATHER, Square, cut, paste


def test_by_hand():
    done = subprocess.run([find_node(), "--test", str(HERE / "faces.test.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


SQUARES = {
    "upright": Square.upright(10, 5, 40, 40),
    "turned": Square((60.3, 41.7), (14.2, 9.1), (-9.1, 14.2)),
    "far smaller": Square((60.3, 41.7), (3.2, 1.1), (-1.1, 3.2)),
    "over the edge": Square((100.0, 80.0), (30.0, -12.0), (12.0, 30.0)),
    "whole": Square.upright(0, 0, 120, 90),
}


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize(("strength", "soft"), [(1, True), (0.4, False)])
def test_as_in_python(node, scenery, tmp_path, monkeypatch, size, strength, soft):
    height, width = scenery.shape[:2]
    rgba = np.dstack([scenery, np.full((height, width), 255, np.uint8)])
    (tmp_path / "photo").write_bytes(rgba.tobytes())
    heatmap = np.random.default_rng(2).normal(size=(size // 4, size // 4)).astype(np.float32)

    rng = np.random.default_rng(3)  # of the detector, as it were: a few anchors see something
    values, logits = rng.uniform(-40, 40, (896, 16)), np.full(896, -9.0)
    values[:, 2:4], logits[::120] = rng.uniform(10, 60, (896, 2)), rng.uniform(0.5, 2, 8)
    (tmp_path / "detections").write_bytes(np.float32(np.column_stack([logits, values])).tobytes())
    detections = {"file": str(tmp_path / "detections"), "tile": {"left": 20, "top": 5, "side": 80}}

    def vectors(square):
        named = {"c": square.centre, "u": square.right, "v": square.down}
        return {name: dict(zip("xy", place, strict=True)) for name, place in named.items()}

    computed = node(
        "compute.mjs",
        {
            "photo": str(tmp_path / "photo"),
            "width": width,
            "height": height,
            "squares": [vectors(square) for square in SQUARES.values()],
            "size": size,
            "heatmap": heatmap.ravel().tolist(),
            "strength": strength,
            "soft": soft,
            "detections": detections,
        },
    )
    for (name, square), result in zip(SQUARES.items(), computed["results"], strict=True):
        image = cut(scenery, square, size)
        pasted = scenery.copy()
        paste(pasted, square, 255 - image, strength, **({} if soft else {"feather": 0}))
        overlaid = np.floor(image / 2 + colour_heatmap(heatmap, size) / 2 + 0.5)

        def worst(values, expected):
            return np.abs(np.array(values).reshape(expected.shape) - expected.astype(float)).max()

        # A value half-way between two levels may be rounded to either, by the last bit of a sum.
        assert worst(result["cut"], image) <= 1, name
        assert worst(result["pasted"], np.dstack([pasted, rgba[..., 3]])) <= 1, name
        # Pillow enlarges with weights of 8 bits: a level of the heatmap is 4 of a colour, half of that after mixing.
        assert worst(result["heatmap"], overlaid) <= 3, name
        assert result["brightness"] == pytest.approx(faces.brightness(image), abs=1), name
        assert result["sharpness"] == pytest.approx(faces.sharpness(image), rel=0.02, abs=1e-3), name
        assert result["fault"] == faces.fault(scenery, square, size), name
    monkeypatch.setattr(FaceDetector, "__init__", lambda self: None)
    detector = FaceDetector()
    detector._anchors = np.concatenate([faces._anchors(*grid) for grid in faces.GRIDS])
    detector._run = lambda image: (1 / (1 + np.exp(-logits)), np.float32(values).reshape(-1, 8, 2) / faces.SIZE)
    every = []
    for turn, seen in enumerate(computed["turns"]):
        scores, places = detector._look(scenery, 20, 5, 80, turn)
        assert len(scores) > 3
        assert [face["score"] for face in seen] == pytest.approx(scores)
        np.testing.assert_allclose([face["numbers"] for face in seen], places.reshape(-1, 16), atol=1e-4)
        every += [faces._face(score, row) for score, row in zip(scores, places, strict=True)]
    kept = sorted(faces._distinct(every), key=lambda face: -face.box[2] * face.box[3])
    assert 1 < len(kept) < len(every)
    np.testing.assert_allclose([face["numbers"][:4] for face in computed["distinct"]], [f.box for f in kept], atol=1e-4)
    assert computed["tiles"] == [
        {"left": left, "top": top, "side": side} for left, top, side in faces._places(width, height)
    ]
    assert computed["constants"] == {
        "DETECTOR_SIZE": faces.SIZE,
        "MIN_SCORE": faces.MIN_SCORE,
        "LARGEST_IN_PART": faces.LARGEST_IN_PART,
        "SURE": faces.SURE,
        "MIN_SECOND_SCORE": faces.MIN_SECOND_SCORE,
        "MAX_OVERLAP": faces.MAX_OVERLAP,
        "FEATHER": FEATHER,
        "JUDGED": faces.JUDGED,
        "DARKEST": faces.DARKEST,
        "BLURRIEST": faces.BLURRIEST,
    }
