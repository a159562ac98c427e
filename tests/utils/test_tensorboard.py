"""SummaryWriter: what TensorBoard reads back, or what to do where it is not installed."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

import minidl as md

INSTALLED = importlib.util.find_spec("tensorboard") is not None


@pytest.mark.skipif(INSTALLED, reason="tensorboard is installed")
def test_what_to_do_without_tensorboard():
    with pytest.raises(ImportError, match="pip install tensorboard"):
        importlib.import_module("minidl.utils.tensorboard")


@pytest.mark.skipif(not INSTALLED, reason="tensorboard is not installed")
def test_what_is_written_is_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with md.utils.tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            writer.add_scalar("loss", md.tensor(1.0 / (step + 1)), step)
        writer.add_histogram("weights", md.arange(10.0), 1)
        writer.add_image("image", md.rand(3, 4, 5))
        writer.add_images("images", md.rand(2, 1, 4, 5))
        writer.add_text("note", "hello", 2)
        with pytest.raises(ValueError, match="does not fit dataformats 'CHW'"):
            writer.add_image("image", md.rand(3, 4))
    read = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "histograms": 0})
    read.Reload()
    assert [(e.step, round(e.value, 3)) for e in read.Scalars("loss")] == [(0, 1.0), (1, 0.5), (2, 0.333)]
    assert read.Histograms("weights")[0].histogram_value.num == 10
    assert read.Images("image")[0].width == 5 and read.Images("images")[0].width == 10
    assert read.Tensors("note/text_summary")[0].tensor_proto.string_val == [b"hello"]
