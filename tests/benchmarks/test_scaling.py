"""The computed scaling, against cases worked out by hand."""

import pathlib
import re

import pytest
import scaling

import ugatit_tf


def test_a_ring_of_four():
    # 25 M gradients are 100 MB; 2 * 3/4 of these, 150 MB, at 1 GB/s.
    assert scaling.communication(25_000_000, 4, 1e9) == pytest.approx(0.15)


def test_two_send_each_what_there_is():
    assert scaling.communication(25_000_000, 2, 1e8) == pytest.approx(1.0)


def test_one_worker_waits_for_nobody():
    assert scaling.communication(25_000_000, 1, 1e9) == 0


def test_efficiency_is_the_share_of_computing():
    assert scaling.efficiency(0.35, 0.15) == pytest.approx(0.7)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_what_is_counted_is_what_a_step_exchanges(flavor):
    config = ugatit_tf.ModelConfig(flavor=flavor, light=True, ch=2, n_res=1, n_dis=4, img_size=24)
    trainer = ugatit_tf.Trainer(ugatit_tf.UGATIT(config))
    exchanged = {
        name: sum(variable.numpy().size for variable in optimizer.variables)
        for name, optimizer in trainer.optimizers.items()
    }
    generators = exchanged.pop("generators")
    assert scaling.count_weights(config) == (generators, sum(exchanged.values()))


def test_a_table_by_hand():
    """125 M weights are 500 MB, and 1.75 times these among eight 875 MB: at 1.25 GB/s 0.7 s, so of 0.3 s 30 %."""
    text = scaling.report({"some": (25_000_000, 100_000_000)}, [8], [0.3, 6.3])
    assert "| some | 25,000,000 | 100,000,000 | 500 MB |" in text
    assert "some, 8 workers: each sends and receives 875 MB a step." in text
    assert "| 10 Gb/s Ethernet | 0.7 s | 30% | 90% |" in text
    assert text.count("|---") == 4 + 4


def test_the_documents_tables_are_the_commands():
    """Its counts are those of ch 64, which tests/models holds against formulas."""
    text = (pathlib.Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    rows = re.findall(r"^\| (light|full) \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    models = {name: tuple(int(count.replace(",", "")) for count in counts) for name, *counts in rows}
    assert [round(count / 1e6, 1) for count in models["light"]] == [21.2, 112.8]
    assert [round(count / 1e6) for count in models["full"]] == [558, 113]
    assert scaling.report(models) in text
