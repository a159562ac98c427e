"""Image transforms: both forms of images, against Pillow, PyTorch and the engine's own grids, and the chance in them."""

from __future__ import annotations

import colorsys
import itertools
import math

import numpy as np
import pytest

import minidl as md
import minidl.nn.functional as F
from minidl import transforms as T
from minidl.datasets import ArrayDataset, ImageDataset, digits
from minidl.transforms import colour, geometry, policy
from minidl.utils.data import DataLoader

rng = np.random.default_rng(0)
IMAGE = rng.integers(0, 256, (12, 9, 3)).astype(np.uint8)
SMOOTH = np.cumsum(np.cumsum(rng.integers(-9, 10, (24, 20, 3)), 0), 1)
SMOOTH = np.interp(SMOOTH, (SMOOTH.min(), SMOOTH.max()), (0, 255)).astype(np.uint8)


def fixed(transform):
    """Every random transform with all chance taken out, so that the two forms of an image can be compared."""
    md.manual_seed(3)
    return transform


ALL = [
    T.Pad((1, 2, 3, 4), fill=7),
    T.CenterCrop((5, 14)),
    T.RandomCrop((6, 7), padding=2, padding_mode="reflect"),
    T.RandomResizedCrop((8, 5)),
    T.Resize(6),
    T.Resize((20, 4), interpolation="bicubic"),
    T.Resize((5, 5), interpolation="nearest"),
    T.RandomHorizontalFlip(1.0),
    T.RandomVerticalFlip(1.0),
    T.RandomRotation(40, interpolation="bilinear", fill=100),
    T.RandomRotation((30, 30), expand=True),
    T.RandomAffine(20, (0.2, 0.1), (0.8, 1.2), (-5, 5, 0, 10)),
    T.RandomErasing(1.0, value=9),
    T.ColorJitter(0.4, 0.4, 0.4, 0.2),
    T.Grayscale(3),
    T.RandAugment(3, 15),
]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_arrays_and_tensors_are_treated_alike(transform):
    of_array = fixed(transform)(IMAGE)
    of_tensor = fixed(transform)(md.from_numpy(IMAGE.transpose(2, 0, 1).copy()))
    assert of_array.dtype == np.uint8 and isinstance(of_array, np.ndarray) and of_array.flags.c_contiguous
    assert of_tensor.dtype is md.uint8
    np.testing.assert_array_equal(of_array.transpose(2, 0, 1), of_tensor.numpy())
    grey = fixed(transform)(IMAGE[..., 0])
    assert grey.shape == of_array.shape[:2] + ((3,) if isinstance(transform, T.Grayscale) else ())
    assert fixed(transform)(md.from_numpy(IMAGE[None, ..., 0].copy())).shape[-2:] == of_array.shape[:2]
    before = IMAGE.copy()
    fixed(transform)(IMAGE)
    np.testing.assert_array_equal(IMAGE, before)
    assert type(transform).__name__ in repr(transform)


WITH_A_FILL_VALUE = (T.Pad, T.RandomRotation, T.RandomErasing)  # which counts in the image's own unit


@pytest.mark.parametrize(
    "transform", [t for t in ALL if not isinstance(t, WITH_A_FILL_VALUE)], ids=lambda t: type(t).__name__
)
def test_floats_in_0_1_and_bytes_agree(transform):
    of_bytes = fixed(transform)(SMOOTH).astype(float) / 255
    of_floats = fixed(transform)(SMOOTH.astype(np.float32) / 255)
    # operations on bytes round after each step, and a step can triple what was rounded
    assert of_floats.dtype == np.float32 and abs(of_bytes - of_floats).max() < 4 / 255


def theirs(image, theta, size, mode):
    """A tensor (C, H, W) read through an affine map of normalized coordinates, by real PyTorch."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(image)[None]
    grid = torch.nn.functional.affine_grid(torch.tensor(theta)[None], [1, len(image), *size], align_corners=False)
    return torch.nn.functional.grid_sample(x, grid, mode, "zeros", align_corners=False)[0].numpy()


def normalized(matrix, size, new_size):
    """The inverse of a matrix of pixels in the coordinates of affine_grid, where -1 and 1 are the edges of the image."""

    def to_pixels(H, W):
        return np.array([[W / 2, 0, W / 2 - 0.5], [0, H / 2, H / 2 - 0.5], [0, 0, 1]])

    return (np.linalg.inv(to_pixels(*size)) @ np.linalg.inv(matrix) @ to_pixels(*new_size))[:2]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_affine_maps_against_grids(mode):
    image = rng.random((2, 11, 8))
    for angle, shift, scale, shear in [
        (0, (0, 0), 1, (0, 0)),
        (33, (2, -1), 0.7, (0, 0)),
        (-120, (0, 3), 1.4, (12, -7)),
    ]:
        # the matrix in the form in which torchvision's documentation gives it
        a, (sx, sy), centre = math.radians(angle), np.radians(shear), np.array([3.5, 5.0])
        linear = scale * np.array(
            [
                [math.cos(a - sy) / math.cos(sy), -math.cos(a - sy) * math.tan(sx) / math.cos(sy) - math.sin(a)],
                [math.sin(a - sy) / math.cos(sy), -math.sin(a - sy) * math.tan(sx) / math.cos(sy) + math.cos(a)],
            ]
        )
        expected = np.eye(3)
        expected[:2, :2], expected[:2, 2] = linear, centre + shift - linear @ centre
        matrix = geometry.affine_matrix(angle, shift, scale, shear, centre)
        np.testing.assert_allclose(matrix, expected, atol=1e-12)
        for size in ((11, 8), (6, 13)):
            out = geometry.warp(image, matrix, size, mode, 0)
            theta = normalized(matrix, (11, 8), size)
            np.testing.assert_allclose(out, theirs(image, theta, size, mode), atol=1e-9)
            grid = F.affine_grid(md.tensor(theta)[None], (1, 2, *size), align_corners=False)
            ours = F.grid_sample(md.tensor(image)[None], grid, mode, "zeros", align_corners=False)[0]
            np.testing.assert_allclose(out, ours.numpy(), atol=1e-9)


def test_rotations_by_right_angles_are_exact():
    square = IMAGE[:9]
    for quarter in range(4):
        for mode in ("nearest", "bilinear"):
            turned = T.RandomRotation((90 * quarter, 90 * quarter), mode)(square)
            np.testing.assert_array_equal(turned, np.rot90(square, quarter))
        expanded = T.RandomRotation((90 * quarter, 90 * quarter), "bilinear", expand=True)(IMAGE)
        np.testing.assert_array_equal(expanded, np.rot90(IMAGE, quarter))  # to the left, not to the right
    corner = T.RandomRotation((90, 90), center=(0, 0))(IMAGE)
    np.testing.assert_array_equal(corner[0, 0], IMAGE[0, 0])
    assert T.RandomRotation((45, 45), expand=True)(np.zeros((10, 10))).shape == (15, 15)  # 10 sqrt 2 is 14.1
    assert (T.RandomRotation((45, 45), fill=8)(IMAGE)[0, 0] == 8).all()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resize_against_pillow(mode):
    Image = pytest.importorskip("PIL.Image")
    for h, w in ((5, 7), (24, 20), (50, 31), (1, 1)):
        out = T.Resize((h, w), interpolation=mode)(SMOOTH)
        filter = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[mode]
        reference = np.asarray(Image.fromarray(SMOOTH).resize((w, h), filter)).astype(int)
        assert abs(out.astype(int) - reference).max() <= 1  # Pillow rounds after each direction


def test_antialias_against_pytorch():
    torch = pytest.importorskip("torch")
    for mode, corners, (H, W, h, w) in itertools.product(
        ("bilinear", "bicubic"), (False, True), ((10, 13, 4, 5), (10, 13, 20, 7), (33, 7, 1, 3), (3, 3, 3, 3))
    ):
        x = rng.standard_normal((2, 1, H, W))
        options = {"size": (h, w), "mode": mode, "antialias": True, "align_corners": corners}
        a, b = torch.tensor(x, requires_grad=True), md.tensor(x, requires_grad=True)
        out = torch.nn.functional.interpolate(a, **options), F.interpolate(b, **options)
        for o in out:
            (o * o.detach()).sum().backward()
        for u, v in ((out[0].detach(), out[1].detach()), (a.grad, b.grad)):
            np.testing.assert_allclose(v.numpy(), u.numpy(), atol=1e-12)
    for factor in (0.3, 1.7):
        x = rng.standard_normal((2, 1, 11, 14))
        a, b = torch.tensor(x), md.tensor(x)
        options = {"scale_factor": factor, "mode": "bicubic", "antialias": True}
        expected = torch.nn.functional.interpolate(a, **options).numpy()
        np.testing.assert_allclose(F.interpolate(b, **options).numpy(), expected, atol=1e-12)


def test_sizes():
    assert T.Resize(6)(np.zeros((12, 9))).shape == (8, 6) and T.Resize(6)(np.zeros((9, 12))).shape == (6, 8)
    assert T.Resize(6, max_size=7)(np.zeros((12, 9))).shape == (7, 5)
    assert T.Resize([4])(np.zeros((8, 16))).shape == (4, 8)
    centre = T.CenterCrop(4)(np.arange(36).reshape(6, 6))
    np.testing.assert_array_equal(centre, np.arange(36).reshape(6, 6)[1:5, 1:5])
    padded = T.CenterCrop(5)(np.ones((2, 2), np.uint8))
    assert padded.shape == (5, 5) and padded.sum() == 4
    for borders, shape in ((2, (16, 13)), ((1, 2), (16, 11)), ((1, 2, 3, 4), (18, 13))):
        assert T.Pad(borders)(IMAGE).shape == (*shape, 3)
    edge = T.Pad((1, 0, 0, 0), padding_mode="edge")(IMAGE)
    np.testing.assert_array_equal(edge[:, 0], IMAGE[:, 0])


def test_crops_and_flips_are_drawn_evenly():
    md.manual_seed(0)
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    starts = [int(T.RandomCrop(2)(image)[0, 0]) for _ in range(900)]
    counts = np.bincount(starts, minlength=16).reshape(4, 4)
    assert counts[3].sum() == counts[:, 3].sum() == 0 and (counts[:3, :3] > 60).all()
    flips = sum(int(T.RandomHorizontalFlip(0.25)(image)[0, 0] == 3) for _ in range(1000))
    assert 200 < flips < 300
    picks = [T.RandomChoice([lambda x: 0, lambda x: 1, lambda x: 2], [1, 0, 3])(None) for _ in range(1000)]
    assert picks.count(1) == 0 and 690 < picks.count(2) < 810
    assert 200 < sum(T.RandomApply([lambda x: 1], 0.25)(0) for _ in range(1000)) < 300


def test_resized_crops_have_the_area_and_the_proportions_asked_for():
    md.manual_seed(0)
    transform = T.RandomResizedCrop(8, scale=(0.2, 0.5), ratio=(0.5, 2))
    for _ in range(200):
        top, left, h, w = transform._part(60, 50)
        assert 0 <= top <= 60 - h and 0 <= left <= 50 - w
        assert 0.18 < h * w / 3000 < 0.53 and 0.45 < w / h < 2.2
    assert transform._part(100, 1) == (49, 0, 2, 1)  # none fits: the middle, as wide as may be


def test_erasing():
    md.manual_seed(0)
    ones = np.ones((40, 30), np.float32)
    shares = [1 - T.RandomErasing(1.0, (0.1, 0.2), (0.5, 2.0))(ones).mean() for _ in range(50)]
    assert min(shares) > 0.08 and max(shares) < 0.23 and max(shares) - min(shares) > 0.05
    erased = T.RandomErasing(1.0, value=[1, 2, 3])(np.zeros((20, 20, 3), np.uint8))
    assert {tuple(p) for p in erased.reshape(-1, 3).tolist()} == {(0, 0, 0), (1, 2, 3)}
    noise = T.RandomErasing(1.0, value="random")(md.zeros(3, 20, 20))
    assert 0 < int((noise != 0).sum()) < 1200
    x = md.ones(1, 8, 8)
    assert T.RandomErasing(1.0, (0.2, 0.3))(x) is not x and float(x.min()) == 1
    T.RandomErasing(1.0, (0.2, 0.3), inplace=True)(x)
    assert float(x.min()) == 0


def test_colours_against_pillow():
    Enhance = pytest.importorskip("PIL.ImageEnhance")
    Ops, Image = pytest.importorskip("PIL.ImageOps"), pytest.importorskip("PIL.Image")
    image, x = Image.fromarray(SMOOTH), SMOOTH.transpose(2, 0, 1)

    def close(ours, reference, tolerance):
        assert abs(ours.transpose(1, 2, 0).astype(int) - np.asarray(reference).astype(int)).max() <= tolerance

    for factor in (0.0, 0.4, 1.0, 1.7):
        # Pillow cuts fractions off, and rounds its greys
        close(colour.brightness(x, factor), Enhance.Brightness(image).enhance(factor), 1)
        close(colour.contrast(x, factor), Enhance.Contrast(image).enhance(factor), 2)
        close(colour.saturation(x, factor), Enhance.Color(image).enhance(factor), 2)
        close(policy.sharpness(x, factor), Enhance.Sharpness(image).enhance(factor), 2)
    close(policy.autocontrast(x), Ops.autocontrast(image), 1)
    close(policy.equalize(x), Ops.equalize(image), 0)
    close(policy.posterize(x, 3), Ops.posterize(image, 3), 0)
    close(policy.solarize(x, 100 / 255), Ops.solarize(image, 100), 0)
    close(T.Grayscale(3)(SMOOTH).transpose(2, 0, 1), image.convert("L").convert("RGB"), 1)


def test_hue():
    pixel = np.array([[[0.8, 0.3, 0.2]]], np.float32)
    h, s, v = colorsys.rgb_to_hsv(0.8, 0.3, 0.2)
    turned = T.ColorJitter(hue=(0.25, 0.25))(pixel)[0, 0]
    np.testing.assert_allclose(turned, colorsys.hsv_to_rgb((h + 0.25) % 1, s, v), atol=1e-6)
    np.testing.assert_array_equal(T.ColorJitter(hue=0.5)(IMAGE[..., 0]), IMAGE[..., 0])  # grey has no hue


@pytest.mark.parametrize("name", policy.OPERATIONS)
def test_every_operation_of_randaugment(name):
    operation, signed = policy.OPERATIONS[name]
    augment = T.RandAugment()
    for x in (
        SMOOTH.transpose(2, 0, 1),
        SMOOTH.transpose(2, 0, 1)[:1] / np.float32(255),
        np.zeros((1, 2, 2), np.uint8),
    ):
        for strength in (0.0, 1.0, -1.0)[: 2 + signed]:
            out = operation(augment, x, strength)
            assert out.shape == x.shape and out.dtype == x.dtype
            if strength == 0 and name not in ("AutoContrast", "Equalize", "Solarize"):
                np.testing.assert_array_equal(out, x)
    if name != "Identity":
        assert (operation(augment, SMOOTH.transpose(2, 0, 1), 1.0) != SMOOTH.transpose(2, 0, 1)).any()


def test_to_tensor_and_normalize():
    x = T.ToTensor()(IMAGE)
    assert x.shape == (3, 12, 9) and x.dtype is md.float32
    np.testing.assert_array_equal(x.numpy(), IMAGE.transpose(2, 0, 1).astype(np.float32) / 255)
    assert T.ToTensor()(IMAGE[..., 0]).shape == (1, 12, 9)
    assert (
        T.ToTensor()(np.ones((2, 2))).dtype is md.float32 and T.ToTensor()(np.ones((2, 2), np.int32)).dtype is md.int32
    )
    assert T.ToTensor()(np.eye(2) > 0).tolist() == [[[1, 0], [0, 1]]]
    Image = pytest.importorskip("PIL.Image")
    np.testing.assert_array_equal(T.ToTensor()(Image.fromarray(IMAGE)).numpy(), x.numpy())
    y = T.Normalize((0.1, 0.2, 0.3), (0.5, 0.4, 2))(x)
    np.testing.assert_allclose(y[1].numpy(), (x[1].numpy() - 0.2) / 0.4, rtol=1e-6)
    assert T.Normalize(0.5, 0.5, inplace=True)(x) is x and abs(float(x.max())) <= 1


def test_the_seed_repeats_everything():
    transform = T.Compose(
        [
            T.RandomCrop(20, padding=4),
            T.RandomChoice([T.RandomRotation(20), T.RandomAffine(0, (0.1, 0.1))]),
            T.ColorJitter(0.5, 0.5, 0.5, 0.1),
            T.RandAugment(),
            T.ToTensor(),
            T.RandomErasing(),
        ]
    )
    runs = []
    for seed in (1, 1, 2):
        md.manual_seed(seed)
        runs.append([transform(SMOOTH).numpy() for _ in range(4)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (np.array(runs[0]) != np.array(runs[2])).any() and (runs[0][0] != runs[0][1]).any()


def test_workers_draw_from_the_seed_too():
    images = np.repeat(SMOOTH[None], 8, 0)
    dataset = ImageDataset(images, np.arange(8), T.Compose([T.RandomCrop(16), T.ToTensor()]))
    epochs = []
    for seed in (5, 5, 6):
        md.manual_seed(seed)
        epochs.append([x.numpy() for x, _ in DataLoader(dataset, batch_size=2, num_workers=2)])
    np.testing.assert_array_equal(epochs[0], epochs[1])
    assert (np.array(epochs[0]) != np.array(epochs[2])).any()
    assert (epochs[0][0] != epochs[0][1]).any()  # the two workers draw different numbers


def test_what_keeps_labels():
    assert T.label_risks(T.Compose([T.RandomCrop(8), T.ToTensor()]), "photographs") == []
    assert T.label_risks(T.RandomRotation(10), "characters") == []
    (risk,) = T.label_risks(T.Compose([T.RandomApply([T.RandomRotation(180)])]), "characters")
    assert risk.startswith("RandomRotation:") and "6 and 9" in risk
    assert len(T.label_risks(T.RandomVerticalFlip(), "photographs")) == 1
    assert T.label_risks(T.RandomVerticalFlip(), "aerial") == []
    assert T.label_risks(T.ColorJitter(hue=0.5), "colours")
    with pytest.raises(ValueError, match="kind is one of characters"):
        T.label_risks(T.RandomVerticalFlip(), "fruit")


def test_a_digit_on_its_head_is_another_digit():
    """The risk is real: most sixes, turned by 180 degrees, are nearest to a nine."""
    data = digits("all")
    x, y = data.data.numpy().reshape(len(data), -1), data.targets.numpy()
    sixes = ArrayDataset(data.data[y == 6], y[y == 6], T.RandomRotation((180, 180)))
    upright, turned = x[y == 6], np.stack([s.numpy().reshape(-1) for s, _ in sixes])

    def share_of_nines(rows):
        others = x[y != 6], y[y != 6]
        distance = ((rows[:, None] - np.concatenate([others[0], upright[::2]])[None]) ** 2).sum(2)
        labels = np.concatenate([others[1], np.full(len(upright[::2]), 6)])
        return (labels[distance.argmin(1)] == 9).mean()

    assert share_of_nines(upright[1::2]) == 0 and share_of_nines(turned[1::2]) > 0.8


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: T.ToTensor()(md.ones(1, 2, 2)), TypeError, "leave ToTensor out"),
        (lambda: T.ToTensor()("picture.png"), TypeError, "got str"),
        (lambda: T.Resize(3)(np.zeros(4)), TypeError, r"\(4,\)"),
        (lambda: T.Normalize(0, 1)(IMAGE), TypeError, r"put ToTensor\(\) before it"),
        (lambda: T.Normalize((0, 0), (1, 1))(md.ones(3, 2, 2)), ValueError, "2 means .* 3 channels"),
        (lambda: T.Normalize(0, 0), ValueError, "divide by 0"),
        (lambda: T.RandomCrop(40)(IMAGE), ValueError, "12 x 9.*40 x 40.*pad_if_needed"),
        (lambda: T.RandomCrop(0), ValueError, "size is one whole number above 0"),
        (lambda: T.Pad(-1), ValueError, "padding is 1, 2 or 4"),
        (lambda: T.Pad(1, padding_mode="wrap"), ValueError, "padding_mode is one of"),
        (lambda: T.Resize(4, interpolation="lanczos"), ValueError, "nearest, bilinear, bicubic"),
        (lambda: T.Resize((4, 4), max_size=9), ValueError, "max_size"),
        (lambda: T.RandomRotation(-3), ValueError, "degrees"),
        (lambda: T.RandomRotation(3, interpolation="bicubic"), ValueError, "nearest, bilinear"),
        (lambda: T.RandomAffine(0, (2, 0)), ValueError, "translate"),
        (lambda: T.RandomHorizontalFlip(1.5), ValueError, "probability"),
        (lambda: T.RandomErasing(value="noise"), ValueError, "'random'"),
        (lambda: T.RandomErasing(1.0, value=[1, 2])(IMAGE), ValueError, "2 values .* 3 channels"),
        (lambda: T.ColorJitter(hue=0.7), ValueError, "half a turn"),
        (lambda: T.ColorJitter(contrast=1)(md.ones(2, 4, 4)), ValueError, "3 channels.*got 2"),
        (lambda: T.Grayscale(2), ValueError, "1 or 3"),
        (lambda: T.RandomChoice([]), ValueError, "one share"),
        (lambda: T.RandAugment(magnitude=31), ValueError, "from 0 to 30"),
        (lambda: T.Resize(3)(md.ones(1, 4, 4, requires_grad=True)), ValueError, "wants a gradient"),
        (lambda: T.Lambda(3), TypeError, "expected a function"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_pad_if_needed_and_lambda():
    assert T.RandomCrop((20, 5), pad_if_needed=True)(IMAGE).shape == (20, 5, 3)
    assert T.Lambda(lambda x: x + 1)(1) == 2 and "lambda" in repr(T.Lambda(lambda x: x))
    assert T.InterpolationMode.BILINEAR == "bilinear"
    assert T.Resize(4, T.InterpolationMode.NEAREST)(IMAGE).shape == (5, 4, 3)
