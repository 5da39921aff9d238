"""What a machine can do is measured, not guessed: memory, time of an update, what an image takes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hepar.errors import BadInput
from hepar.nets.residual_unet import ResidualUnet
from hepar.training import machine
from hepar.training.machine import bytes_per_image, free_memory, this_machine, update_seconds
from hepar.training.recipe import STRONG, Recipe
from hepar.training.synthesis import LesionSynthesis

TINY = ResidualUnet(channels=(4, 8, 8), blocks=(1, 1, 1), deep_heads=1)
RECIPE = Recipe(batch=2, micro_batch=2, patch=64, loss="dice_cross_entropy")


def test_free_memory_is_what_system_and_container_leave(tmp_path):
    proc = tmp_path / "meminfo"
    proc.write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n")
    assert free_memory(proc, tmp_path) == 8_000_000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("123\n")
    assert free_memory(proc, tmp_path) == 8_000_000 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_memory(proc, tmp_path) == 2000


def test_where_nothing_is_told_half_of_the_memory_counts_as_free(tmp_path, monkeypatch):
    known = free_memory(tmp_path / "none", tmp_path)
    assert known > 2**28
    monkeypatch.delattr("os.sysconf")
    assert free_memory(tmp_path / "none", tmp_path) == machine.UNKNOWN_BYTES


def test_this_machine_is_described_in_a_line():
    here = this_machine("cpu")
    assert here.threads == torch.get_num_threads()
    assert here.device_bytes is None
    assert str(here).startswith("cpu, CPU threads: ")
    assert "24 GB on it" in str(replace(here, device="cuda", device_bytes=24 * 2**30))
    with pytest.raises(BadInput, match="is not on this machine"):
        this_machine("tpu")


def test_an_update_takes_time_and_more_for_more_images():
    one = update_seconds(TINY, RECIPE, "cpu", 0.0)
    assert 0 < one < 5
    # Tried on a few images and scaled: a CPU takes so much longer for more.
    many = update_seconds(TINY, replace(RECIPE, batch=60, micro_batch=60), "cpu", 0.05)
    assert many > 3 * one


def test_an_update_is_tried_with_everything_that_training_does(monkeypatch):
    changed = []
    monkeypatch.setattr(machine, "augment", lambda images, labels, *_: changed.append(1) or (images, labels))
    recipe = replace(RECIPE, augmentation=STRONG, deep_supervision=0.5, precision="bf16", ema=0.9)
    assert update_seconds(replace(TINY, slices=3), recipe, "cpu", 0.0) > 0
    assert len(changed) == 2


def test_painted_lesions_are_part_of_the_time(monkeypatch):
    asked = []
    real = machine.gather
    monkeypatch.setattr(machine, "gather", lambda *words: asked.append(words[4]) or real(*words))
    assert update_seconds(TINY, replace(RECIPE, synthesis=LesionSynthesis(share=1.0)), "cpu", 0.0) > 0
    assert all(painter is not None for painter in asked)
    update_seconds(TINY, RECIPE, "cpu", 0.0)
    assert asked[-1] is None


def test_what_a_machine_cannot_do_takes_forever(monkeypatch):
    def refused(*_):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(machine, "update_once", refused)
    assert update_seconds(TINY, RECIPE, "cpu", 0.0) == math.inf


def test_an_image_takes_memory_by_its_area_and_the_network_s_width():
    one = bytes_per_image(TINY, RECIPE)
    assert bytes_per_image(TINY, replace(RECIPE, patch=128)) == pytest.approx(4 * one, rel=1e-5)
    assert bytes_per_image(TINY, replace(RECIPE, precision="bf16")) < one
    assert bytes_per_image(replace(TINY, width=2.0), RECIPE) > 1.5 * one
    # The first stage alone keeps its image of 4 channels some four times over.
    assert one > 4 * 4 * 64 * 64 * 4
