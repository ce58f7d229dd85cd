"""Scores against numpy: hand-made networks and generators tell which images reached the metrics."""

import weakref

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ugatit_tf.data import images, pipeline
from ugatit_tf.evaluation import score
from ugatit_tf.evaluation.score import Evaluator, find_truths, score_folders
from ugatit_tf.metrics import distances, pairs
from ugatit_tf.metrics.inception_score import inception_score
from ugatit_tf.metrics.manifold import precision_recall_density_coverage

SIZE = 24


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UGATIT_CACHE", str(tmp_path / "cache"))


class Network:
    """The mean colour and two pixels as features, in the place of a `FeatureNetwork`; notes what it is shown."""

    note = "Colours."
    dimension = 9

    def __init__(self, name="colours", classes=False):
        self.name = self.digest = name
        self.classes = classes
        self.seen = []
        self.batches = []
        self.most_alive = 0

    def __call__(self, batch):
        assert (batch.dtype, batch.ndim, batch.shape[3]) == (np.uint8, 4, 3)
        self.seen += [image.shape for image in batch]
        self.batches.append(weakref.ref(batch))
        self.most_alive = max(self.most_alive, sum(batch() is not None for batch in self.batches))
        means = batch.mean((1, 2)) / 255
        values = np.concatenate([means, batch[:, 3, 5] / 255, batch[:, 9, 7] / 255], 1)
        powers = np.exp(20 * means)
        return np.float32(values), np.float32(powers / powers.sum(1, keepdims=True)) if self.classes else None

    def of(self, pictures):
        return Network(classes=self.classes)(np.stack(pictures))


class Generator:
    """Another one than its opposite, beyond [-1, 1] and between the grey levels; the other outputs are of no use."""

    def __init__(self, factor):
        self.factor = factor
        self.calls = 0

    def __call__(self, batch, training=None):
        assert training is False
        self.calls += 1
        return batch * np.float32(self.factor) - np.float32(0.21), None, "heatmap"


GENERATORS = {"a2b": Generator(-1.3), "b2a": Generator(0.37)}


def draw(folder, count, base, size=(29, 31), suffix=".png", names=None):
    """Noise around a colour, each file's a little brighter than the one before."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(sum(base))
    paths = []
    for index in range(count):
        pixels = np.array(base) + 4 * index + draws.integers(-40, 40, (*size, 3))
        paths.append(folder / f"{names[index] if names else index}{suffix}")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def unpaired(tmp_path):
    return draw(tmp_path / "a", 7, (70, 90, 160)), draw(tmp_path / "b", 9, (190, 110, 60), (40, 26))


@pytest.fixture
def paired(tmp_path):
    """Six pairs, whose files come in another order in B, and end in another suffix."""
    names = ["b", "a", "d", "c", "f", "e"]
    paths_a = draw(tmp_path / "a", 6, (70, 90, 160), names=names)
    paths_b = draw(tmp_path / "b", 6, (190, 110, 60), (40, 26), ".bmp", ["f", "d", "b", "a", "c", "e"])
    return paths_a, paths_b


def prepared(path):
    return np.asarray(pipeline.to_float(pipeline.resize(images.decode(path), SIZE)))


def levels(picture):
    return np.rint((picture + np.float32(1)) * np.float32(127.5)).clip(0, 255).astype(np.uint8)


def real(paths):
    return [levels(prepared(path)) for path in paths]


def translated(paths, direction):
    return [levels(GENERATORS[direction](prepared(path), training=False)[0]) for path in paths]


def expected_scores(features, target, source):
    kid, mean = distances.kid(features, target), distances.kid(features, source)
    mean = distances.mean_kid(kid, mean)
    values = {
        "kid": kid.value,
        "kid_error": kid.standard_error,
        "fid": distances.fid(features, target),
        "mean_kid": mean.value,
        "mean_kid_error": mean.standard_error,
    }
    return {**values, **precision_recall_density_coverage(features, target, 5)._asdict()}


def numbers(scores):
    return {name: value for name, value in scores.items() if name not in ("note", "warnings")}


def approx(values):
    # float32 features of values in [0, 1], summed in one order or another.
    return pytest.approx(values, rel=1e-6, abs=1e-9)


# --- Evaluator ---


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_translations_are_compared_with_both_domains(unpaired, direction):
    network = Network()
    evaluator = Evaluator([network], *unpaired, SIZE)
    result = evaluator.score(direction, GENERATORS[direction])
    source, target = unpaired if direction == "a2b" else unpaired[::-1]
    assert (result["images"], result["reference"]) == (len(source), len(target))
    sets = [network.of(found)[0] for found in (translated(source, direction), real(target), real(source))]
    assert numbers(result["features"]["colours"]) == approx(expected_scores(*sets))
    assert set(network.seen) == {(SIZE, SIZE, 3)}
    assert all(isinstance(value, float) for value in numbers(result["features"]["colours"]).values())
    assert result["features"]["colours"]["note"] == "Colours."
    assert "pairs" not in result
    assert evaluator.paired is False


def test_without_a_generator_images_go_as_they_are(unpaired):
    result = Evaluator([Network()], *unpaired, SIZE).score("a2b")
    (source, target), network = map(real, unpaired), Network()
    sets = [network.of(found)[0] for found in (source, target, source)]
    assert numbers(result["features"]["colours"]) == approx(expected_scores(*sets))


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_each_translation_meets_its_own_truth(paired, direction):
    source, target = paired if direction == "a2b" else paired[::-1]
    named = {path.stem: path for path in target}
    truths = real([named[path.stem] for path in source])
    evaluator = Evaluator([Network()], *paired, SIZE)
    assert evaluator.paired is True
    for generator, found in ((GENERATORS[direction], translated(source, direction)), (None, real(source))):
        expected = {
            metric.__name__: np.mean([metric(*pair) for pair in zip(found, truths, strict=True)])
            for metric in (pairs.l1, pairs.psnr, pairs.ssim)
        }
        assert evaluator.score(direction, generator)["pairs"] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(evaluator.truths(direction, 4), truths[:4])


def test_identical_pairs(tmp_path):
    paths = draw(tmp_path / "a", 4, (70, 90, 160))
    scores = Evaluator([Network()], paths, paths, SIZE).score("a2b")["pairs"]
    assert scores == {"l1": 0, "psnr": np.inf, "ssim": pytest.approx(1)}


def test_several_networks_score_the_same_translations(unpaired):
    networks = [Network("first"), Network("second", classes=True)]
    networks[1].note = "Classes."
    generator = Generator(-1.3)
    scores = Evaluator(networks, *unpaired, SIZE).score("a2b", generator)["features"]
    assert list(scores) == ["first", "second"]
    assert generator.calls == 2  # of 4 and of 3 images
    assert numbers(scores["first"]) == approx(numbers(scores["second"]))
    assert (scores["first"]["note"], scores["second"]["note"]) == ("Colours.", "Classes.")


def test_the_inception_score_is_of_the_translations(tmp_path):
    paths = draw(tmp_path / "a", 11, (70, 90, 160)), draw(tmp_path / "b", 4, (190, 110, 60))
    networks = [Network("plain"), Network("classes", classes=True)]
    scores = Evaluator(networks, *paths, SIZE).score("a2b", GENERATORS["a2b"])["features"]
    probabilities = networks[1].of(translated(paths[0], "a2b"))[1][np.random.default_rng(0).permutation(11)]
    assert scores["classes"]["inception_score"] == pytest.approx(inception_score(probabilities, 10).value)
    assert "inception_score" not in scores["plain"]


def test_pictures(unpaired):
    evaluator = Evaluator([], *unpaired, SIZE)
    np.testing.assert_array_equal(evaluator.pictures("b2a", 5), real(unpaired[1][:5]))
    found = evaluator.pictures("a2b", 50, GENERATORS["a2b"])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, translated(unpaired[0], "a2b"))


@pytest.mark.parametrize("batch", [1, 7])
def test_the_batch_size_changes_nothing(paired, monkeypatch, batch):
    expected = Evaluator([Network()], *paired, SIZE).score("a2b", GENERATORS["a2b"])
    monkeypatch.setattr(score, "BATCH", batch)
    generator = Generator(-1.3)
    actual = Evaluator([Network("others, not in the cache")], *paired, SIZE).score("a2b", generator)
    assert generator.calls == -(-6 // batch)
    assert numbers(actual["features"].popitem()[1]) == approx(numbers(expected["features"]["colours"]))
    assert actual["pairs"] == pytest.approx(expected["pairs"], rel=1e-12)


def test_a_compiled_generator(unpaired, tiny_generator):
    evaluator = Evaluator([Network()], *unpaired, 32)
    compiled = tf.function(tiny_generator)
    inputs = np.stack([pipeline.to_float(pipeline.resize(images.decode(path), 32)) for path in unpaired[0]])
    expected = levels(np.asarray(tiny_generator(inputs, training=False)[0]))
    found = evaluator.pictures("a2b", 7, compiled)
    assert np.ptp(expected) > 100
    assert np.abs(found - expected.astype(int)).max() <= 1  # a sum near a half may round otherwise
    scores = evaluator.score("a2b", compiled)["features"]["colours"]
    features, target = Network().of(found)[0], Network().of(evaluator.pictures("b2a", 9))[0]
    assert scores["fid"] == pytest.approx(distances.fid(features, target), rel=1e-6)


@pytest.mark.parametrize("pairs_too", [False, True])
def test_images_are_not_kept(tmp_path, pairs_too):
    """A list of the batches or of the translations would keep all ten alive."""
    names = None if pairs_too else range(100, 140)
    paths = draw(tmp_path / "a", 40, (70, 90, 160)), draw(tmp_path / "b", 40, (190, 110, 60), names=names)
    network = Network()
    generated, most, ahead = [], 0, 0

    def generator(batch, training):
        nonlocal most, ahead
        result = batch * -0.9
        generated.append(weakref.ref(result))
        most = max(most, sum(found() is not None for found in generated))
        ahead = max(ahead, len(generated) - len(network.batches))
        return result, None, None

    result = Evaluator([network], *paths, SIZE).score("a2b", generator)
    assert len(generated) == 10
    assert len(network.seen) == 120  # the translations, and both domains' images
    assert ("pairs" in result) == pairs_too
    assert max(network.most_alive, most) <= 3
    assert ahead == 1


def test_real_images_are_seen_once(unpaired, tmp_path):
    network, generator = Network(), Generator(-1.3)
    evaluator = Evaluator([network], *unpaired, SIZE)
    first = evaluator.score("a2b", generator)
    assert len(network.seen) == 7 + 9 + 7
    (tmp_path / "cache").rename(tmp_path / "elsewhere")  # nor is their file read again
    evaluator.score("b2a", generator)
    assert len(network.seen) == 23 + 9
    (tmp_path / "elsewhere").rename(tmp_path / "cache")
    again = Network()
    other = Evaluator([again], *unpaired, SIZE)
    assert other.score("a2b", generator) == first
    assert len(again.seen) == 7
    score_again = other.score("a2b", GENERATORS["b2a"])
    assert score_again["features"]["colours"]["fid"] != first["features"]["colours"]["fid"]
    assert len(again.seen) == 14


def test_features_of_another_size_or_network_are_others(unpaired):
    Evaluator([Network()], *unpaired, SIZE).score("a2b")
    for network, size in ((Network(), SIZE + 4), (Network("other"), SIZE)):
        Evaluator([network], *unpaired, size).score("a2b")
        assert len(network.seen) == 7 + 9 + 7
    network = Network()
    score_folders([network], *unpaired)
    assert len(network.seen) == 7 + 9


@pytest.mark.parametrize("counts", [(3, 4), (4, 3)])
def test_too_few_images_are_refused(tmp_path, counts):
    paths = draw(tmp_path / "a", counts[0], (70, 90, 160)), draw(tmp_path / "b", counts[1], (190, 110, 60))
    words = f"at least 4 images in each set; received {counts[0]} of domain A and {counts[1]} of domain B"
    with pytest.raises(ValueError, match=words):
        Evaluator([], *paths, SIZE)
    words = f"received {counts[0]} translations and {counts[1]} reference images"
    with pytest.raises(ValueError, match=words):
        score_folders([], *paths)


def test_a_file_that_is_gone_is_named(unpaired):
    evaluator = Evaluator([Network()], *unpaired, SIZE)
    unpaired[0][3].unlink()
    with pytest.raises(OSError, match=r"cannot be read any more: .*3\.png"):
        evaluator.score("a2b")


def test_levels_are_rounded_and_clipped():
    whole = np.arange(256, dtype=np.float32)
    for shift in (-0.49, 0, 0.49):
        np.testing.assert_array_equal(images.to_uint8((whole + shift) / 127.5 - 1), whole)
    found = images.to_uint8(tf.constant([-np.inf, -7, 1.01, np.inf]))
    assert found.dtype == np.uint8
    assert found.tolist() == [0, 0, 255, 255]


# --- pairs ---


def test_truths_come_in_the_order_of_the_images():
    others = ["b/y.jpg", "b/x.tar.png", "b/z.png"]
    assert find_truths(["a/z.bmp", "a/y.png", "a/x.tar.gif"], others) == ["b/z.png", "b/y.jpg", "b/x.tar.png"]
    assert find_truths(["a/z.bmp", "c/y.png"], others) == ["b/z.png", "b/y.jpg"]


@pytest.mark.parametrize(
    ("paths", "others"),
    [
        (["a/1.png", "a/2.png"], ["b/1.png", "b/3.png"]),
        (["a/1.png", "a/2.png"], ["b/1.png"]),
        (["a/1.png"], ["b/1.png", "b/1.jpg"]),
        (["a/1.png"], ["b/x/1.png", "b/y/1.png"]),
        (["a/1.png", "a/1.jpg"], ["b/1.png"]),
        (["a/1.png"], ["b/1.PNG.png"]),
    ],
    ids=["other names", "too few", "two suffixes", "two folders", "two of the first", "a longer name"],
)
def test_what_is_no_pair(paths, others):
    assert find_truths(paths, others) is None
    with pytest.raises(ValueError, match="each needs exactly one of the same name in the other folder"):
        find_truths(paths, others, paired=True)


def test_pairs_can_be_declared(paired):
    assert find_truths(*paired, paired=False) is None
    evaluator = Evaluator([Network()], *paired, SIZE, paired=False)
    assert evaluator.paired is False
    assert "pairs" not in evaluator.score("a2b")
    assert Evaluator([], *paired, SIZE, paired=True).paired is True
    others = [path.with_stem(f"{path.stem}x") for path in paired[1]]
    with pytest.raises(ValueError, match="score them without --paired"):
        Evaluator([], paired[0], others, SIZE, paired=True)


def test_a_part_of_the_names_makes_no_pairs(paired):
    """Images numbered from 1 in both domains, and more of them in one."""
    for paths in ((paired[0][:5], paired[1]), (paired[0], paired[1][:5])):
        evaluator = Evaluator([Network()], *paths, SIZE)
        assert evaluator.paired is False
        assert all("pairs" not in evaluator.score(direction) for direction in GENERATORS)
        with pytest.raises(ValueError, match="no pairs"):
            Evaluator([], *paths, SIZE, paired=True)


# --- measure ---


def rows(count, shift=0.0, seed=0):
    return np.float32(np.random.default_rng(seed).normal(shift, 1, (count, 9)))


@pytest.mark.parametrize(("count", "reference"), [(4, 9), (9, 5), (6, 6)])
def test_neighbours_need_six_images_in_both_sets(count, reference):
    scores = score.measure(Network(), (rows(count), None), (rows(reference, 1, 1), None))
    manifold = {"precision", "recall", "density", "coverage"}
    assert manifold & set(scores) == (manifold if min(count, reference) >= 6 else set())
    assert set(scores) - manifold == {"kid", "kid_error", "fid", "note", "warnings"}


def test_the_inception_score_needs_ten_images_and_probabilities():
    probabilities = np.float32(np.random.default_rng(0).dirichlet([0.3] * 5, 13))
    assert "inception_score" not in score.measure(Network(), (rows(9), probabilities[:9]), (rows(9), None))
    assert "inception_score" not in score.measure(Network(), (rows(13), None), (rows(13), probabilities))
    found = score.measure(Network(), (rows(13), probabilities), (rows(13), None))
    expected = inception_score(probabilities[np.random.default_rng(0).permutation(13)], 10)
    assert found["inception_score"] == pytest.approx(expected.value)
    assert found["inception_score_error"] == pytest.approx(expected.standard_error)


def test_the_inception_score_is_not_of_neighbouring_files():
    """Sorted by what they show, each split of consecutive images is of one class, and scores 1."""
    probabilities = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
    assert inception_score(probabilities, 10).value == 1
    found = score.measure(Network(), (rows(40), probabilities), (rows(40), None))
    assert found["inception_score"] > 1.5  # of at most 2


def test_warnings_have_the_numbers():
    probabilities = np.full((12, 2), 0.5, np.float32)
    sets = (rows(12), probabilities), (rows(8, 1, 1), None), (rows(12), None)
    kid, fid, mean, manifold, inception = score.measure(Network(), *sets)["warnings"]
    assert kid.startswith("KID needs 100 images, ")
    assert kid.endswith("Here are 8.")
    assert fid.startswith("FID needs 10,000 images, ")
    assert fid.endswith("Here are 8. The covariance of 9 features is singular with 8 images.")
    assert mean == distances.MEAN_KID_WARNING
    assert manifold.endswith("Here are 8.")
    assert inception.endswith("Here are 12.")
    assert len(score.measure(Network(), (rows(4), None), (rows(4), None))["warnings"]) == 2


def test_enough_images_need_no_warning():
    warnings = score.measure(Network(), (rows(100), None), (rows(100), None))["warnings"]
    assert not any(line.startswith("KID") for line in warnings)
    assert not any("singular" in line for line in warnings)


# --- score_folders ---


@pytest.fixture
def mixed(tmp_path):
    """Images of several sizes, and their truths of others, in another order."""
    sizes = [(24, 30), (31, 17), (20, 20), (24, 30), (12, 40), (50, 50)]
    paths = [draw(tmp_path / str(index), 1, (70, 90 + index, 160), size)[0] for index, size in enumerate(sizes)]
    paths = [path.rename(path.with_stem(f"x{index}")) for index, path in enumerate(paths)]
    truths = draw(tmp_path / "truths", 6, (190, 110, 60), (33, 21), names=["x5", "x0", "x4", "x2", "x3", "x1"])
    return paths, truths, sizes


def test_one_number_for_the_same_translations(unpaired_translations):
    """Written to a folder and scored from there, against real images of other sizes."""
    folder, reference, expected = unpaired_translations
    result = score_folders([Network()], folder, reference, paired=False)
    assert result["size"] == expected["size"] == [24, 24]
    found, other = numbers(result["features"]["colours"]), numbers(expected["features"]["colours"])
    assert found == approx({name: other[name] for name in found})
    assert (result["images"], result["reference"]) == (expected["images"], expected["reference"])


@pytest.fixture
def unpaired_translations(tmp_path, tiny_generator):
    """Files of translations at 24 px, those of the real images (50x34 px), and the result of `Evaluator.score`."""
    real_a, real_b = (draw(tmp_path / n, 6, c, (50, 34)) for n, c in (("a", (70, 90, 160)), ("b", (190, 110, 60))))
    evaluator = Evaluator([Network()], real_a, real_b, 24, paired=False)
    (tmp_path / "translated").mkdir()
    paths = [tmp_path / "translated" / f"{index}.png" for index in range(6)]
    for path, picture in zip(paths, evaluator.pictures("a2b", 6, tiny_generator), strict=True):
        Image.fromarray(picture).save(path)
    return paths, real_b, evaluator.score("a2b", tiny_generator)


def test_folders_of_several_sizes_are_scored_in_their_own(mixed):
    paths, truths, sizes = mixed
    network = Network()
    result = score_folders([network], paths, truths)
    assert sorted(network.seen) == sorted([(*size, 3) for size in sizes] + 6 * [(33, 21, 3)])
    assert (result["images"], result["reference"], result["size"]) == (6, 6, None)
    features = [np.concatenate([network.of([images.decode(path)])[0] for path in files]) for files in (paths, truths)]
    expected = expected_scores(*features, features[1])
    del expected["mean_kid"], expected["mean_kid_error"]
    assert numbers(result["features"]["colours"]) == approx(expected)


def test_a_truth_takes_the_size_of_its_image(mixed):
    paths, truths, _ = mixed
    named = {path.stem: images.decode(path) for path in truths}
    found = []
    for path in paths:
        image = images.decode(path)
        # by way of [-1, 1], as the images of an `Evaluator`, which decides where a half is rounded to
        truth = images.to_uint8(pipeline.to_float(pipeline.resize(named[path.stem], image.shape[:2])))
        found.append([metric(image, truth) for metric in (pairs.l1, pairs.psnr, pairs.ssim)])
    expected = dict(zip(("l1", "psnr", "ssim"), np.mean(found, 0), strict=True))
    assert score_folders([Network()], paths, truths)["pairs"] == pytest.approx(expected, rel=1e-12)
    assert "pairs" not in score_folders([Network()], paths, truths, paired=False)


def test_folders_are_checked_before_they_are_scored(mixed):
    paths, truths, _ = mixed
    network = Network()
    with pytest.raises(ValueError, match="score them without --paired"):
        score_folders([network], [*paths[1:], paths[0].with_stem("y")], truths, paired=True)
    assert network.seen == []
    assert "pairs" not in score_folders([network], paths, truths[:5])


def test_reference_images_are_seen_once(mixed):
    paths, truths, _ = mixed
    for expected in (12, 6):
        network = Network()
        score_folders([network], paths, truths)
        assert len(network.seen) == expected


def test_images_of_folders_are_not_kept(tmp_path, monkeypatch):
    paths, truths = draw(tmp_path / "a", 40, (70, 90, 160)), draw(tmp_path / "b", 40, (190, 110, 60))
    decode, decoded, most = images.decode, [], 0

    def watched(path):
        nonlocal most
        pixels = decode(path)
        decoded.append(weakref.ref(pixels))
        most = max(most, sum(found() is not None for found in decoded))
        return pixels

    monkeypatch.setattr(images, "decode", watched)
    assert "pairs" in score_folders([Network()], paths, truths)
    assert len(decoded) == 160  # each for its features, and again for the pair
    assert most <= 3


def test_a_broken_image_is_named(mixed):
    paths, truths, _ = mixed
    paths[2].write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"x2\.png: not a JPEG"):
        score_folders([Network()], paths, truths)
