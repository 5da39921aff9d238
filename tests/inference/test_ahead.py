"""One piece of work ahead: the same items, never more than one too many, and labels that do not depend on threads."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.inference import load_segmenter, segmenter
from hepar.inference.ahead import ahead


def threads_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


@settings(deadline=None)
@given(st.lists(st.none() | st.integers()))
def test_items_and_their_order_stay(items):
    assert list(ahead(iter(items))) == items


def test_one_item_is_made_before_it_is_asked_for_and_no_more():
    made: list[int] = []

    def making():
        for number in range(5):
            made.append(number)
            yield number

    items = ahead(making())
    for number in range(5):
        assert next(items) == number
        time.sleep(0.02)  # as long as the thread may wish
        assert made == list(range(min(number + 2, 5)))
    assert next(items, None) is None


def test_work_goes_on_in_another_thread_while_an_item_is_used():
    used = threading.Event()

    def making():
        yield "first"
        assert used.wait(10)  # set while the first is in use: without a second thread this would never end
        yield "second"

    seen = []
    for item in ahead(making()):
        seen.append(item)
        used.set()
    assert seen == ["first", "second"]


def test_an_error_comes_where_its_item_would_have_come():
    def making():
        yield 1
        raise BadInput("the second is broken")

    items = ahead(making())
    assert next(items) == 1
    with pytest.raises(BadInput, match="the second is broken"):
        next(items)
    assert threads_left() == []


def test_stopping_early_leaves_no_thread():
    items = ahead(iter(range(10)))
    next(items)
    assert threads_left() != []
    items.close()
    assert threads_left() == []


@pytest.mark.parametrize("slab", [1, 2, 5, 8])
def test_labels_depend_neither_on_threads_nor_on_the_slab(threshold_model, small_scan, monkeypatch, slab):
    ct, truth = small_scan
    overlapped = replace(load_segmenter(threshold_model), slab=slab).find(ct)
    monkeypatch.setattr(segmenter, "ahead", lambda items: items)
    alone = replace(load_segmenter(threshold_model), slab=6).find(ct)
    assert np.array_equal(overlapped.labels.labels, alone.labels.labels)
    assert np.array_equal(overlapped.tumour_probability, alone.tumour_probability)
    assert (overlapped.labels.labels == 2).sum() >= (truth.labels == 2).sum() / 2


def test_the_network_begins_a_slab_while_the_one_before_becomes_labels_and_no_third(threshold_model, small_scan):
    begun: list[int] = []
    second = threading.Event()

    def predict(batch):
        begun.append(len(begun) + 1)
        if len(begun) == 2:
            second.set()
        return np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)

    slabs = replace(load_segmenter(threshold_model), predict=predict, slab=1)
    for labelled, _ in enumerate(slabs.scores(small_scan[0]), start=1):
        assert second.wait(10)
        time.sleep(0.02)  # as long as the threads may wish
        assert begun == list(range(1, min(labelled + 1, 6) + 1))


def test_a_network_that_fails_fails_the_scan(threshold_model, small_scan):
    def predict(_):
        raise MemoryError("no room for logits")

    with pytest.raises(MemoryError, match="no room"):
        replace(load_segmenter(threshold_model), predict=predict).segment(small_scan[0])
    assert threads_left() == []
