"""What comes of values, models and settings that nobody should have, and somebody will: right results or an error that says why."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl import quantization as Q

OBSERVERS = [
    Q.MinMaxObserver, Q.MovingAverageMinMaxObserver, Q.HistogramObserver, Q.EntropyObserver, Q.PercentileObserver, Q.MSEObserver,
]  # fmt: skip


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def quantized(layer, *batches, qconfig=None):
    """The layer between stubs, calibrated and converted."""
    model = Q.QuantWrapper(layer).eval()
    model.qconfig = Q.default_qconfig if qconfig is None else qconfig
    prepared = Q.prepare(model)
    for x in batches:
        prepared(md.tensor(np.asarray(x, np.float32)))
    return Q.convert(prepared)


@pytest.mark.parametrize("kind", OBSERVERS)
def test_calibration_that_is_not_finite_empty_or_constant(kind):
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            kind()(md.tensor([1.0, bad]))
    observer = kind()
    observer(md.zeros(0, 3))
    with pytest.raises(RuntimeError, match="nothing was observed yet"):
        observer.calculate_qparams()
    for constant in (0.0, 5.0, -5.0, 1e-40, 3e38, -3e38):
        observer = kind()
        observer(md.full((100,), constant))
        scale, zero = observer.calculate_qparams()
        assert np.isfinite(scale.item()) and scale.item() >= Q.observer.EPS
        back = md.quantize_per_tensor(md.tensor([constant, 0.0]), scale, zero, md.quint8).dequantize().numpy()
        assert back[1] == 0 and (abs(back[0] - constant) <= 0.002 * abs(constant) or abs(constant) < 1e-30)


@pytest.mark.parametrize("kind", OBSERVERS)
@pytest.mark.parametrize("scheme", [md.per_tensor_affine, md.per_tensor_symmetric])
def test_a_range_beyond_float32(kind, scheme):
    """3e38 - -3e38 is infinite in float32, and the scale is not."""
    observer = kind(qscheme=scheme)
    observer(md.tensor([3e38, -3e38, 1.0]))
    scale, _ = observer.calculate_qparams()
    assert 1e36 < scale.item() < 3e36
    of_rows = Q.PerChannelMinMaxObserver(qscheme=md.per_channel_affine_float_qparams)
    of_rows(md.tensor([[3e38, -3e38], [1.0, 0.0]]))
    assert np.isfinite(of_rows.calculate_qparams()[0].numpy()).all()


def test_entropy_does_not_cut_all_values_off():
    """A range of one bin has a divergence of 0, and is no range."""
    observer = Q.EntropyObserver()
    for factor in (1.0, 1e6, 1e-6):
        observer(md.tensor(drawn(100) * np.float32(factor)))
    assert observer.calculate_qparams()[0].item() > 1e6 / 255 / 10


def test_observers_of_channels():
    observer = Q.PerChannelMinMaxObserver()
    observer(md.ones(2, 3))
    with pytest.raises(ValueError, match=r"axis 0 had 2 channels before, and has 3 now, of shape \[3, 3\]"):
        observer(md.ones(3, 3))
    with pytest.raises(ValueError, match=r"an input of shape \[2, 2\] has no axis 5"):
        Q.PerChannelMinMaxObserver(ch_axis=5)(md.ones(2, 2))
    with pytest.raises(ValueError, match=r"expected a positive scale and a zero point from 0 to 255, got 0.1 and 256"):
        Q.FixedQParamsObserver(0.1, 256)


def test_one_huge_outlier():
    """The smallest and the largest value are one outlier's; a percentile is not."""
    x = np.concatenate([drawn(100_000), [np.float32(1e3)]])
    scales = []
    for kind in (Q.MinMaxObserver, Q.PercentileObserver):
        observer = kind()
        observer(md.tensor(x))
        scales.append(observer.calculate_qparams()[0].item())
    assert scales[0] > 3.9 and scales[1] < 0.1


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-39, -1.0, np.inf, np.nan])
def test_scales_whose_inverse_is_no_number(scale):
    with pytest.raises(RuntimeError, match="scales are positive and finite"):
        md.quantize_per_tensor(md.tensor([0.0, 1e-40]), scale, 3, md.qint8)
    with pytest.raises(RuntimeError, match="scales are positive and finite"):
        md.fake_quantize_per_tensor_affine(md.tensor([0.0, 1e-40]), scale, 3, 0, 255)
    smallest = float(np.finfo(np.float32).tiny)
    q = md.quantize_per_tensor(md.tensor([0.0, 1.0]), smallest, 3, md.qint8)
    assert q.int_repr().tolist() == [3, 127]


LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), (5,)), "1d": (lambda: nn.Conv1d(5, 3, 2), (5, 7)), "2d": (lambda: nn.Conv2d(5, 3, 2), (5, 4, 6)),
    "3d": (lambda: nn.Conv3d(5, 3, 2), (5, 4, 3, 6)), "transposed": (lambda: nn.ConvTranspose2d(5, 3, 2, 2), (5, 4, 3)),
    "groups": (lambda: nn.Conv2d(6, 3, 2, groups=3), (6, 4, 6)), "norm": (lambda: nn.LayerNorm(5), (5,)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_batches_of_none_and_other_orders_in_memory(name):
    make, shape = LAYERS[name]
    layer = make().eval()
    model = quantized(layer, drawn(2, *shape))
    empty = model(md.zeros(0, *shape))
    assert empty.shape == (0, *layer(md.zeros(2, *shape)).shape[1:]) and empty.dtype is md.float32
    x = md.tensor(drawn(4, *shape))
    turned = md.tensor(np.ascontiguousarray(x.numpy().transpose())).permute(*reversed(range(x.ndim)))
    assert not turned.is_contiguous() or x.ndim == 1
    for other in (turned, x.double(), md.tensor(np.repeat(x.numpy(), 2, 0))[::2]):
        np.testing.assert_array_equal(model(other).numpy(), model(x).numpy())
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again(x).numpy(), model(x).numpy())


def test_empty_batches_of_dynamic_layers():
    for layer, x in (
        (nn.GRU(5, 3), md.zeros(4, 0, 5)), (nn.LSTM(5, 3), md.zeros(4, 0, 5)), (nn.GRUCell(5, 3), md.zeros(0, 5)),
        (nn.Linear(5, 3), md.zeros(0, 5)),
    ):  # fmt: skip
        found = Q.quantize_dynamic(layer)(x)
        assert 0 in (found[0] if isinstance(found, tuple) else found).shape
    bag = Q.quantize_dynamic(nn.EmbeddingBag(5, 3), {nn.EmbeddingBag})
    nothing = md.zeros(0, dtype=md.int64)
    assert bag(nothing, md.zeros(2, dtype=md.int64)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("sign", [1, -1])
def test_zero_points_at_both_ends(sign):
    x = sign * np.abs(drawn(50, 6))
    layer = nn.Linear(6, 4)
    model = quantized(layer, x)
    assert model.quant.zero_point.item() == (0 if sign > 0 else 255)
    with md.no_grad():
        assert (model(md.tensor(x)) - layer(md.tensor(x))).abs().max() < 0.05
    saturated = model.quant(md.tensor([[-1e30, 1e30]])).int_repr().tolist()
    assert saturated == [[0, 255]]


def test_rows_of_zeros_keep_their_bias():
    """A pruned channel has the smallest scale that there is, in whose units a bias does not fit into 32 bits."""
    layer = nn.Conv1d(4, 3, 1)
    with md.no_grad():
        layer.weight[1] = 0.0
        layer.bias[1] = 2.0
    x = 1e-3 * drawn(20, 4, 6)
    model = quantized(layer, x, qconfig=Q.default_per_channel_qconfig)
    with md.no_grad():
        assert (model(md.tensor(x)) - layer(md.tensor(x))).abs().max() < 0.51 * model.module.scale.item()


def test_one_layer_in_two_places():
    layer = nn.Linear(4, 4)
    act = nn.SiLU()
    x = drawn(50, 4)
    model = nn.Sequential(layer, act, layer, act)
    found = quantized(model, x)
    assert found.module[0] is found.module[2] and found.module[1] is found.module[3]
    with md.no_grad():
        assert (found(md.tensor(x)) - model(md.tensor(x))).abs().max() < 0.1


def test_twice():
    model = Q.QuantWrapper(nn.Linear(4, 4)).eval()
    model.qconfig = Q.default_qconfig
    prepared = Q.prepare(model)
    with pytest.raises(ValueError, match="prepare: the model has observers already"):
        Q.prepare(prepared)
    with pytest.raises(ValueError, match="prepare_qat: the model has observers already"):
        Q.prepare_qat(prepared.train())
    prepared.eval()(md.tensor(drawn(3, 4)))
    converted = Q.convert(prepared)
    with pytest.raises(ValueError, match="convert: the model has no observers"):
        Q.convert(converted)
    with pytest.raises(ValueError, match="prepare: nothing to observe"):
        Q.prepare(converted)
    again = Q.prepare(model)
    again.load_state_dict(prepared.state_dict())  # what was observed is state
    assert Q.convert(again).quant.scale == converted.quant.scale


def test_a_quantized_layer_is_in_evaluation():
    """Its normalization does not follow batches, whatever mode it is put into."""
    model = Q.QuantWrapper(nn.Sequential(nn.BatchNorm2d(3), nn.InstanceNorm2d(3, track_running_stats=True))).eval()
    model.qconfig = Q.default_qconfig
    prepared = Q.prepare(model)
    x = md.tensor(3 + drawn(4, 3, 5, 5))
    prepared(x)
    converted = Q.convert(prepared.train())
    wanted = converted.eval()(x).numpy()
    np.testing.assert_array_equal(converted.train()(x).numpy(), wanted)
    assert (converted.module[0].running_mean == 0).all()


def test_half_of_the_integers_and_a_few():
    for options, last in (({"reduce_range": True}, 127), ({"quant_min": 0, "quant_max": 15}, 15)):
        qconfig = Q.QConfig(Q.MinMaxObserver.with_args(dtype=md.quint8, **options), Q.default_weight_observer)
        x = drawn(20, 4)
        model = quantized(nn.Linear(4, 4), x, qconfig=qconfig)
        assert model.quant(md.tensor(x)).int_repr().numpy().max() == last


WEIGHTS = [
    Q.MinMaxObserver.with_args(dtype=md.quint8),
    Q.MinMaxObserver.with_args(dtype=md.qint8),
    Q.PerChannelMinMaxObserver.with_args(dtype=md.qint8, qscheme=md.per_channel_symmetric, ch_axis=1),
]


@pytest.mark.parametrize("observer", WEIGHTS)
@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.Conv1d(4, 3, 1)], ids=lambda m: type(m).__name__)
def test_weights_that_kernels_do_not_take_are_refused_when_they_are_converted(layer, observer):
    x = drawn(6, 4) if isinstance(layer, nn.Linear) else drawn(6, 4, 2)
    with pytest.raises(RuntimeError, match="the weights of a quantized layer are qint8 and symmetric"):
        quantized(layer, x, qconfig=Q.QConfig(Q.default_observer, observer))
    if isinstance(layer, nn.Linear):
        with pytest.raises(RuntimeError, match="the weights of a quantized layer are qint8 and symmetric"):
            Q.quantize_dynamic(layer, {nn.Linear: Q.QConfig(Q.default_placeholder_observer, observer)})


def test_parameters_that_are_not_finite():
    for name in ("weight", "bias"):
        layer = nn.Linear(4, 2)
        with md.no_grad():
            getattr(layer, name).view(-1)[0] = np.nan
        model = Q.QuantWrapper(layer).eval()
        model.qconfig = Q.default_qconfig
        prepared = Q.prepare(model)
        prepared.module.activation_post_process(md.ones(1))
        prepared.quant(md.ones(1))
        with pytest.raises(ValueError, match="NaN or infinite"):
            Q.convert(prepared)
    layer = nn.Linear(32, 2)
    with md.no_grad():
        layer.weight[0, 0] = 2e6
    with pytest.raises(ValueError, match=r"weights up to 2e\+06 need a scale beyond float16; keep this layer float"):
        Q.quantize_weight_only(layer)


def test_images_and_operands_that_do_not_fit():
    conv = quantized(nn.Conv2d(1, 1, 3), drawn(2, 1, 5, 5))
    with pytest.raises(RuntimeError, match=r"a kernel of \(3, 3\) is larger than the padded image \[1, 1, 2, 5\]"):
        conv(md.zeros(1, 1, 2, 5))
    with pytest.raises(RuntimeError, match=r"quantized.Conv2d: expected images \(B, 1, H, W\), got shape \[1, 5, 5\]"):
        conv(md.zeros(1, 5, 5))
    with pytest.raises(RuntimeError, match=r"quantized.Conv1d: expected images \(B, 2, L\), got shape \[1, 3, 4\]"):
        quantized(nn.Conv1d(2, 1, 1), drawn(2, 2, 5))(md.zeros(1, 3, 4))
    reflecting = quantized(nn.Conv1d(2, 3, 3, padding=3, padding_mode="reflect"), drawn(2, 2, 6))
    with pytest.raises(RuntimeError, match="Padding size should be less than the corresponding input dimension"):
        reflecting(md.zeros(1, 2, 2))
    with pytest.raises(TypeError, match=r"quantized.QFunctional.add: expected a quantized tensor, got torch.float32"):
        Q.quantized.QFunctional(0.1, 0).add(md.ones(1), md.ones(1))
    with pytest.raises(TypeError, match="clamp: of a quantized tensor the ends are numbers"):
        md.clamp(md.quantize_per_tensor(md.ones(1), 0.1, 0, md.quint8), min=md.ones(1))
    embedding = nn.Sequential(nn.Embedding(5, 4), Q.QuantStub(), nn.Linear(4, 2), Q.DeQuantStub()).eval()
    embedding.qconfig = Q.default_qconfig
    prepared = Q.prepare(embedding)
    prepared(md.tensor([1, 2]))
    with pytest.raises(RuntimeError, match="set the layer's qconfig to float_qparams_weight_only_qconfig, or to None"):
        Q.convert(prepared)


def test_fusion_of_transposed_convolutions_and_of_what_has_no_estimates():
    for groups in (1, 2):
        model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, groups=groups), nn.BatchNorm2d(6)).eval()
        with md.no_grad():
            model[1].running_mean += md.arange(6)
            model[1].weight *= md.arange(6) + 1
        x = md.tensor(drawn(2, 4, 3, 3))
        found = Q.fuse_modules(model, ["0", "1"])
        np.testing.assert_allclose(found(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-4, atol=1e-4)
    model = nn.Sequential(nn.Conv2d(4, 6, 2), nn.BatchNorm2d(6, track_running_stats=False)).eval()
    with pytest.raises(ValueError, match="the normalization has no running estimates"):
        Q.fuse_modules(model, ["0", "1"])
