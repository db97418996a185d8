"""`Colorizer` colors whole photographs: color from a small copy, joined with their own lightness at full size."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.color.arrays import chromaticity, colored, gray_level, lightness
from pipeline.color.constants import AB_SCALE
from pipeline.color.hints import Said, hint_side, spread_hints
from pipeline.errors import HintError, ModelError, ProportionsError
from pipeline.inference.devices import AUTO
from pipeline.inference.hints import Hint, Painted, said_by
from pipeline.inference.margins import MARGINS_SEEN, WHOLE, Inside, inside_margins
from pipeline.inference.networks import Network, load_network
from pipeline.inference.starter import starter_folder
from pipeline.inference.upsampling import GuidedColor
from pipeline.media.decoding import SMALLEST_SIDE
from pipeline.media.pictures import samples_of
from pipeline.media.writing import eight_bits
from pipeline.system import cores
from pipeline.types import Floats, Samples

# Pixels joined at a time: few enough for their planes to stay in the processor's cache.
_STRIP = 2**17
RENDER_SIZES = (32, 2048)
# Of a panorama, the network sees no more pixels than this, or one so long: four megapixels take it some 3 GB.
_MOST_SEEN, _ALWAYS_SEEN = 2**22, 20


@dataclass(frozen=True)
class ColoringOptions:
    """How a picture is colored."""

    render_size: int | None = None
    """Short side of what the network sees, 32 to 2048 pixels; None for the size it was trained at."""
    seed: int = 0
    """Seed of the noise of a generator that has some."""
    saturation: float = 1.0
    """Factor of the chroma, 0 to 10; 0 is gray."""
    own_lightness: bool = False
    """Whether an RGB generator's own output is shown, lightness and all, enlarged to the picture's size."""
    hints: tuple[Hint, ...] | Painted = ()
    """Colors for places, which the network's give way to."""


class Colorizer:
    """Colors photographs with a trained generator.

    >>> colorizer = Colorizer.load("checkpoints/finetune")
    >>> colorizer(Image.open("street.jpg")).save("street-in-color.png")

    The lightness of the result is that of the input at every pixel, up to the rounding of its samples; only a*
    and b* come from the network. Where a color does not fit into sRGB its chroma is reduced.
    """

    def __init__(self, network: Network, threads: int | None = None):
        self._network = network
        self._threads = threads or min(8, cores())

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        vivid: float | None = None,
        threads: int | None = None,
        device: str = AUTO,
    ) -> Colorizer:
        """Load a checkpoint folder (by torch), an export folder or a .onnx file (by ONNX Runtime, without torch).

        Args:
            path: None for the starter model.
            vivid: where the dial stands, from 0, the generator after pretraining, to 1, the one after fine-tuning; None
                for the model as it is.
            threads: that it colors with, which are torch's for all networks of a process; None for one a core, and at
                most eight beside the network's. The result is the same up to one level of 255.
            device: cpu, cuda, mps, coreml, directml or openvino; auto takes the fastest kind that is here. Another
                device rounds otherwise: a sample may differ by one.

        Raises:
            ModelError: no model there, a damaged one, one without a dial, or no such device here.
            ValueError: vivid is out of its range.
        """
        found = starter_folder() if path is None else Path(path)
        if found is None:
            raise ModelError("this distribution was built without the starter model; name a model")
        return cls(load_network(found, vivid, threads, device), threads)

    @property
    def device(self) -> str:
        """What the network computes on, such as "cpu" or "cuda"."""
        return self._network.device

    @property
    def note(self) -> str:
        """A sentence where that is not the device that comes first on this machine; else ""."""
        return self._network.note

    @property
    def image_size(self) -> int:
        """Side of the photographs it was trained on, pixels: the render size by default."""
        return self._network.config.image_size

    @property
    def noisy(self) -> bool:
        """Whether another seed gives other colors."""
        return self._network.config.generator.noise != "none"

    @property
    def has_own_lightness(self) -> bool:
        """Whether the generator gives RGB, and so a lightness that is not the photograph's."""
        return self._network.config.color_space == "rgb"

    @overload
    def __call__(
        self,
        image: Image.Image,
        *,
        render_size: int | None = ...,
        seed: int = ...,
        saturation: float = ...,
        hints: Sequence[Hint] | Painted = ...,
    ) -> Image.Image: ...

    @overload
    def __call__(
        self,
        image: NDArray[Any],
        *,
        render_size: int | None = ...,
        seed: int = ...,
        saturation: float = ...,
        hints: Sequence[Hint] | Painted = ...,
    ) -> NDArray[Any]: ...

    @overload
    def __call__(
        self, image: Sequence[Any], *, render_size: int | None = ..., seed: int = ..., saturation: float = ...
    ) -> list[Any]: ...

    def __call__(
        self,
        image: Any,
        *,
        render_size: int | None = None,
        seed: int = 0,
        saturation: float = 1.0,
        hints: Sequence[Hint] | Hint | Painted | None = (),
    ) -> Any:
        """Color a photograph, or several.

        Args:
            image: a PIL image of any mode; an array (H, W), (H, W, 1) or (H, W, 3), uint8 or uint16 sRGB; a batch
                (N, H, W, 1) or (N, H, W, 3); or a sequence of any of them.
            render_size: short side of what the network sees, 32 to 2048 pixels; at a larger one it sees smaller things.
            seed: of the noise of a generator that has some.
            saturation: factor of the network's chroma; 0 is gray.
            hints: colors for places of one photograph, or a copy of it with painted dots; None for none.

        Returns:
            For a PIL image an RGB one (RGBA where it was transparent); for an array (..., H, W, 3) of its type;
            for a sequence, a list.

        Raises:
            TypeError, ValueError: the image or an option is none of these.
            ImageError: the samples of a PIL image are floating-point numbers, whose scale is not known.
            HintError: a hint means nothing on the photograph. (It is a ValueError, too.)
            InputError: hints are given, and scipy is not installed.
        """
        several = not isinstance(image, Image.Image) and not (isinstance(image, np.ndarray) and image.ndim < 4)
        if hints and several:
            raise HintError("hints belong to one photograph; color each with its own")
        given = hints if isinstance(hints, Painted) else (hints,) if isinstance(hints, Hint) else tuple(hints or ())
        return self._color_any(image, ColoringOptions(render_size, seed, saturation, hints=given))

    def color(self, pixels: Samples, options: ColoringOptions) -> Samples:
        """Color (H, W) or (H, W, 3) samples: (H, W, 3) of their type.

        Raises:
            TypeError, ValueError: the samples or an option are not allowed.
        """
        if not 0 <= options.saturation <= 10:
            raise ValueError(f"saturation must be in 0..10, got {options.saturation}")
        pixels = _require_photograph(pixels, self._render_size(options.render_size))
        if options.own_lightness:
            return self._own_rgb(pixels, options)
        inside = self._inside(pixels, self._render_size(options.render_size))
        light = self.reduced_lightness(pixels, options.render_size, inside)
        if options.hints:
            return self._hinted(pixels, light, inside, options)
        ab = self.ab(light, options.seed, inside=inside)
        return self.join(pixels, light, ab * np.float32(options.saturation))

    def _inside(self, pixels: Samples, render_size: int) -> Inside:
        found = inside_margins(lightness(_reduced(pixels, MARGINS_SEEN)))
        return self.allowed(found, (pixels.shape[0], pixels.shape[1]), render_size)

    def allowed(self, inside: Inside, shape: tuple[int, int], render_size: int | None = None) -> Inside:
        """Return what is inside of margins where it is not too small or too long for the network, else all.

        Args:
            shape: (height, width) of the picture. All of it is reduced as much as what is inside.
        """
        size = self._render_size(render_size)
        rows, columns = inside.slices(shape)
        short, long = sorted([rows.stop - rows.start, columns.stop - columns.start])
        reduced = shape[0] * shape[1] * (size / short) ** 2
        fits = short >= SMALLEST_SIDE and long <= _longest(size) * short and reduced <= _MOST_SEEN
        return inside if fits else WHOLE

    def _hinted(self, pixels: Samples, light: Floats, inside: Inside, options: ColoringOptions) -> Samples:
        """Color with hints, which are spread on a copy of their own: what the network sees is small."""
        if not isinstance(options.hints, Painted) and any(hint.time for hint in options.hints):
            raise HintError("a hint has a time, and a photograph has none")
        sees = self._network.config.generator.hints
        seen = said_by(options.hints, pixels, light.shape, required=False) if sees else None
        ab = self.ab(light, options.seed, seen, inside) * np.float32(options.saturation)
        fine = lightness(_reduced(pixels, hint_side(*pixels.shape[:2])))
        enlarged = GuidedColor.fit(light, ab).rows(fine, 0, fine.shape[0])
        return self.join(pixels, fine, spread_hints(fine, enlarged, said_by(options.hints, pixels, fine.shape)))

    def _color_any(self, image: Any, options: ColoringOptions) -> Any:
        if isinstance(image, Image.Image):
            # Pillow converts gray with alpha that is multiplied in to this mode alone.
            pixels, alpha = samples_of(image.convert("LA") if image.mode == "La" else image)
            rgb = eight_bits(self.color(pixels, options))  # Pillow has no 16-bit color
            return Image.fromarray(rgb if alpha is None else np.dstack([rgb, eight_bits(alpha)]))
        if isinstance(image, np.ndarray) and image.ndim != 4:
            return self.color(image, options)
        if isinstance(image, np.ndarray):
            if not len(image):
                raise ValueError("an array of photographs must hold one at least")
            return np.stack([self.color(one, options) for one in image])
        if isinstance(image, Sequence) and not isinstance(image, str | bytes):
            return [self._color_any(one, options) for one in image]
        raise TypeError(f"image must be a PIL image, an array or a sequence of them, got {type(image).__name__}")

    def reduced_lightness(self, pixels: Samples, render_size: int | None = None, inside: Inside = WHOLE) -> Floats:
        """Return the lightness that the network will see: (H, W) or (H, W, 3) samples -> (h, w) L* in [0, 100].

        Args:
            render_size: short side of what is inside, pixels; None for the size that the network was trained at.
            inside: what the network will see of it.

        Raises:
            ValueError: render_size is out of its range.
        """
        return lightness(_reduced(pixels, self._render_size(render_size), inside))

    def _render_size(self, asked: int | None) -> int:
        size = self.image_size if asked is None else asked
        if not RENDER_SIZES[0] <= size <= RENDER_SIZES[1]:
            raise ValueError(f"render_size must be in {RENDER_SIZES[0]}..{RENDER_SIZES[1]}, got {size}")
        return size

    def ab(self, light: Floats, seed: int = 0, said: Said | None = None, inside: Inside = WHOLE) -> Floats:
        """Return the network's colors: (h, w) L* in [0, 100] -> (2, h, w) a* and b*.

        Args:
            said: hints on the same copy. Only a network that was trained with hints sees them.
            inside: what the network sees; the rest is gray.
        """
        ab, part = np.zeros((2, *light.shape), np.float32), inside.slices(light.shape)
        ab[:, *part] = self._seen_ab(light[part], seed, said and Said(said.ab[:, *part], said.where[part]))
        return ab

    def _seen_ab(self, light: Floats, seed: int, said: Said | None) -> Floats:
        (height, width), padded = light.shape, self._padded(light)
        if self._network.config.color_space == "lab":
            seen = (padded / np.float32(50) - np.float32(1))[None]
            if said and self._network.config.generator.hints:
                below, beside = padded.shape[0] - height, padded.shape[1] - width
                seen = np.concatenate([seen, np.pad(said.channels, ((0, 0), (0, below), (0, beside)))])
            output = self._run(seen[None], seed)
            return output[0, :, :height, :width] * np.float32(AB_SCALE)
        return chromaticity(self._rgb(padded, seed)[:, :height, :width])

    def _rgb(self, padded: Floats, seed: int) -> Floats:
        """Return what an RGB generator gives: (h, w) L* -> (3, h, w) sRGB in [0, 1]."""
        gray = (gray_level(padded) * 2 - 1)[None, None].repeat(3, 1)
        rgb: Floats = ((self._run(gray, seed)[0] + 1) / 2).clip(0, 1)
        return rgb

    def _run(self, seen: Floats, seed: int) -> Floats:
        """Return what the network gives.

        Raises:
            ModelError: it is not a number somewhere: the weights are damaged, or too large for what they are run with.
        """
        output = self._network.run(seen, seed)
        if not np.isfinite(output).all():
            raise ModelError("the model gives values that are not finite numbers: its weights are damaged")
        return output

    def _own_rgb(self, pixels: Samples, options: ColoringOptions) -> Samples:
        """Return an RGB generator's output at the size of the pixels."""
        if not self.has_own_lightness:
            raise ValueError("own lightness needs a generator that gives RGB")
        if options.hints:
            raise HintError("own lightness shows the generator's output as it is: it takes no hints")
        if options.saturation != 1:
            raise ValueError("own lightness shows the generator's output as it is: saturation must be 1")
        light = self.reduced_lightness(pixels, options.render_size)
        height, width = light.shape
        rgb = self._rgb(self._padded(light), options.seed)[:, :height, :width]
        size = (pixels.shape[1], pixels.shape[0])
        planes = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in rgb]
        largest = np.iinfo(pixels.dtype).max
        return np.asarray((np.dstack(planes).clip(0, 1) * largest).round(), pixels.dtype)

    def _padded(self, light: Floats) -> Floats:
        """Mirrored at the right and the bottom, so that padding gives the network no new edge."""
        height, width = light.shape
        multiple = self._network.config.multiple
        return np.pad(light, ((0, -height % multiple), (0, -width % multiple)), "symmetric")

    def join(self, pixels: Samples, light: Floats, ab: Floats) -> Samples:
        """Join the pixels' own lightness with the color of their small copy.

        Args:
            pixels: (H, W) or (H, W, 3) uint8 or uint16 sRGB.
            light: (h, w) L* of the small copy.
            ab: (2, h, w) a* and b* of the small copy.

        Returns:
            (H, W, 3) of the type of pixels.
        """
        color = GuidedColor.fit(light, ab)
        height, width = pixels.shape[:2]
        rgb = np.empty((height, width, 3), pixels.dtype)
        # Strip by strip, so that the planes in between need little memory.
        rows = max(1, _STRIP // width)

        def strip(first: int) -> None:
            full = lightness(pixels[first : first + rows])
            rgb[first : first + rows] = colored(full, color.rows(full, first, height), pixels.dtype.itemsize * 8)

        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(strip, range(0, height, rows)):
                pass
        return rgb


def _reduced(pixels: Samples, short_side: int, inside: Inside = WHOLE) -> Samples:
    """Resize (bicubic, as in training) until what is inside has a short side: (h, w) or (h, w, 3) uint8."""
    height, width = pixels.shape[:2]
    scale = short_side / min(height * (inside.bottom - inside.top), width * (inside.right - inside.left))
    size = (max(short_side, round(width * scale)), max(short_side, round(height * scale)))
    eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    # The gap lets Pillow average whole blocks first, which is as good and ten times as fast.
    return np.asarray(Image.fromarray(eight).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))


def _longest(render_size: int) -> int:
    """Return how many times the short side the long one may be."""
    return max(_ALWAYS_SEEN, _MOST_SEEN // render_size**2)


def _require_photograph(pixels: NDArray[Any], render_size: int) -> Samples:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"samples must be uint8 or uint16, got {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"an array must be (H, W), (H, W, 1), (H, W, 3) or a batch of those, got {pixels.shape}")
    short, long = sorted(pixels.shape[:2])
    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    if short < SMALLEST_SIDE:
        raise ValueError(f"the short side must be >= {SMALLEST_SIDE} pixels, got {size}")
    longest = _longest(render_size)
    if long > longest * short:
        raise ProportionsError(
            f"at a render size of {render_size} the long side may be {longest} times the short one, got {size}; "
            "a smaller render size allows longer ones"
        )
    return pixels
