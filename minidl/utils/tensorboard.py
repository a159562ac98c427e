"""SummaryWriter: writes scalars, histograms, images and texts for TensorBoard, if the package tensorboard is installed."""

from __future__ import annotations

import io
import os
import socket
import time
import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ..tensor import Tensor

try:
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ImportError:
    raise ImportError(
        "minidl.utils.tensorboard needs the package tensorboard: `pip install tensorboard`. Without it, `minidl train` writes "
        "metrics.jsonl and a picture"
    ) from None


def _array(x: Any) -> Any:
    return x.detach().numpy(force=True) if isinstance(x, Tensor) else np.asarray(x)


class SummaryWriter:
    """Writes what is to be shown into a file in `log_dir`, by default runs/DATE_HOST, which `tensorboard --logdir runs` shows.

    Values may be tensors, arrays or numbers.

    Example:
        >>> writer = SummaryWriter("runs/first")
        >>> writer.add_scalar("loss", loss.item(), step)
        >>> writer.close()
    """

    def __init__(
        self, log_dir: str | None = None, comment: str = "", purge_step: int | None = None, max_queue: int = 10,
        flush_secs: int = 120, filename_suffix: str = "",
    ) -> None:  # fmt: skip
        if not log_dir:
            now = time.strftime("%b%d_%H-%M-%S")
            log_dir = f"runs/{now}_{socket.gethostname()}{comment}"
        self.log_dir = os.fspath(log_dir)
        self._options = max_queue, flush_secs, filename_suffix
        self._files: dict[str, Any] = {}
        self._file(self.log_dir)

    def _file(self, folder: str) -> Any:
        if folder not in self._files:
            self._files[folder] = EventFileWriter(folder, *self._options)
        return self._files[folder]

    def get_logdir(self) -> str:
        """The folder that the file is in."""
        return self.log_dir

    def _add(self, tag: str, step: int | None, walltime: float | None, folder: str | None = None, **value: Any) -> None:
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, **value)])
        event = event_pb2.Event(
            summary=summary, wall_time=walltime or time.time(), step=None if step is None else int(step)
        )
        self._file(folder or self.log_dir).add_event(event)

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: float | None = None,
        new_style: bool = False, double_precision: bool = False,
    ) -> None:  # fmt: skip
        """A number at a step."""
        self._add(tag, global_step, walltime, simple_value=float(_array(scalar_value)))

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Several numbers in one diagram; each goes into a folder of its own, which TensorBoard shows as a run."""
        for tag, value in tag_scalar_dict.items():
            folder = f"{self.log_dir}/{main_tag.replace('/', '_')}_{tag}"
            self._add(main_tag, global_step, walltime, folder, simple_value=float(_array(value)))

    def add_histogram(
        self, tag: str, values: Any, global_step: int | None = None, bins: Any = 64, walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:  # fmt: skip
        """How values are distributed."""
        x = _array(values).reshape(-1).astype(np.float64)
        if not x.size or not np.isfinite(x).all():
            raise ValueError(f"add_histogram: {tag!r} needs one or more finite values")
        counts, edges = np.histogram(x, 64 if isinstance(bins, str) else bins)
        histogram = summary_pb2.HistogramProto(
            min=x.min(), max=x.max(), num=x.size, sum=x.sum(), sum_squares=(x * x).sum(), bucket_limit=edges[1:].tolist(),
            bucket=counts.tolist(),
        )  # fmt: skip
        self._add(tag, global_step, walltime, histo=histogram)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:  # fmt: skip
        """A picture: numbers from 0 to 1, or uint8; `dataformats` says the order of its dimensions: CHW, HWC or HW."""
        self._add(tag, global_step, walltime, image=_picture(_array(img_tensor), dataformats))

    def add_images(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:  # fmt: skip
        """Several pictures of one size, side by side."""
        order = dataformats.upper()
        each = np.moveaxis(_array(img_tensor), order.index("N"), 0)
        images = [_in_order(image, order.replace("N", "")) for image in each]
        self._add(tag, global_step, walltime, image=_picture(np.concatenate(images, axis=1), "HWC"))

    def add_figure(
        self, tag: str, figure: Any, global_step: int | None = None, close: bool = True, walltime: float | None = None
    ) -> None:
        """A figure of matplotlib, or several."""
        for i, one in enumerate(figure if isinstance(figure, (list, tuple)) else [figure]):
            one.canvas.draw()
            pixels = np.asarray(one.canvas.buffer_rgba())[..., :3]
            self.add_image(
                f"{tag}/{i}" if isinstance(figure, (list, tuple)) else tag, pixels, global_step, walltime, "HWC"
            )
            if close:
                from matplotlib import pyplot

                pyplot.close(one)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """A text, in Markdown."""
        plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
        shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
        text = tensor_pb2.TensorProto(dtype="DT_STRING", string_val=[text_string.encode()], tensor_shape=shape)
        metadata = summary_pb2.SummaryMetadata(plugin_data=plugin)
        self._add(f"{tag}/text_summary", global_step, walltime, metadata=metadata, tensor=text)

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False, **options: Any) -> None:
        """Writes nothing: autograd.graph.draw(model(input)) draws the graph."""
        warnings.warn("add_graph writes nothing; autograd.graph.draw(model(input)) draws the graph", stacklevel=2)

    def flush(self) -> None:
        """Write everything to disk."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Write everything to disk and close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _in_order(image: Any, dataformats: str) -> Any:
    """(H, W, C) of an image whose dimensions are in the given order."""
    if sorted(dataformats) not in (sorted("CHW"), sorted("HW")) or image.ndim != len(dataformats):
        raise ValueError(f"add_image: an image of shape {image.shape} does not fit dataformats {dataformats!r}")
    image = image.transpose([dataformats.index(d) for d in "HWC" if d in dataformats])
    image = image[..., None] if image.ndim == 2 else image
    return np.repeat(image, 3, 2) if image.shape[2] == 1 else image


def _picture(image: Any, dataformats: str) -> Any:
    """The image as TensorBoard takes it: a PNG and its size."""
    from PIL import Image

    pixels = _in_order(image, dataformats.upper())
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    H, W, C = pixels.shape
    return summary_pb2.Summary.Image(height=H, width=W, colorspace=C, encoded_image_string=png.getvalue())


__all__ = ["SummaryWriter"]
