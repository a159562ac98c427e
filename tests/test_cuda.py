"""minidl.cuda on a machine without a GPU, which is where most learners are."""

from __future__ import annotations

import pytest

import minidl as md

pytestmark = [pytest.mark.tiny, pytest.mark.skipif(md.cuda.is_available(), reason="there is a GPU")]


def test_nothing_is_available_and_nothing_fails():
    assert md.cuda.device_count() == 0 and md.cuda.memory_allocated() == 0
    md.cuda.empty_cache()
    md.cuda.manual_seed_all(3)
    first = md.rand(2)
    md.manual_seed(3)
    assert md.rand(2).tolist() == first.tolist()


@pytest.mark.parametrize(
    "use",
    [lambda: md.zeros(1).cuda(), lambda: md.zeros(1, device="cuda"), lambda: md.nn.Linear(1, 1).to("cuda:0"),
     md.cuda.synchronize, md.cuda.get_device_name, md.cuda.current_device, lambda: md.cuda.set_device(0)],
)  # fmt: skip
def test_using_a_gpu_says_what_is_missing(use):
    with pytest.raises(RuntimeError, match=r"minidl doctor"):
        use()


def test_types_on_a_gpu():
    assert repr(md.cuda.FloatTensor) == "torch.cuda.FloatTensor" and not isinstance(md.zeros(1), md.cuda.FloatTensor)
    if not md.cuda.is_available():
        for use in (lambda: md.cuda.LongTensor([1]), lambda: md.zeros(1).type(md.cuda.FloatTensor)):
            with pytest.raises(RuntimeError, match="doctor"):
                use()
