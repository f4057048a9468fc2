"""The mixed-scale dense block on one buffer, forwards and backwards.

Every map is one row of a matrix (see `Frames`), so that a 3 x 3 dilated convolution over all maps so far is
one matrix product, with a row for each tap, whose rows are then added up, each shifted by its tap. A product
for nine rows at a time is slow; therefore what the maps before a group of layers give to all of the group is
computed in one product, and only what the group's layers give to each other goes layer by layer. The products
are cut into tiles of columns that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.networks.msd_groups import in_groups

# Columns to a tile on the CPU and on other devices.
TILE_CPU, TILE_OTHER = 2**15, 2**20


def tile_of(device: torch.device) -> int:
    """Columns of a tile on this device."""
    return TILE_CPU if device.type == "cpu" else TILE_OTHER


def symmetric_index(length: int, padding: int) -> npt.NDArray[np.int64]:
    """The pixels that symmetric padding shows at ``-padding .. length + padding - 1``.

    Half-sample symmetry: the edge pixel comes twice, -1 shows 0 and -2 shows 1. Where the padding is wider
    than the image, the reflection repeats, as in ``numpy.pad`` with ``mode="symmetric"``.
    """
    place = np.arange(-padding, length + padding) % (2 * length)
    seen: npt.NDArray[np.int64] = np.minimum(place, 2 * length - 1 - place)
    return seen


class Frames:
    """Where the pixels of a batch of images lie in a row of memory.

    Each image lies in a frame, `padding` pixels wide, of its own mirrored pixels; the frames lie one after
    the other, with a margin before the first and after the last. Thus the pixel that a tap of a dilated
    kernel sees is at one and the same distance for all pixels of all images. What such a shift brings into
    a frame or margin is of no use, and overwritten or left alone.

    Parameters
    ----------
    shape : (int, int, int)
        Images, rows and columns of the batch.
    padding : int
        Width of the frames: the largest dilation.
    device : torch.device
        Where the maps are.
    """

    def __init__(self, shape: tuple[int, int, int], padding: int, device: torch.device) -> None:
        self.shape, self.padding = shape, padding
        self.framed = (shape[0], shape[1] + 2 * padding, shape[2] + 2 * padding)
        self.pitch = self.framed[2]
        self.length = int(np.prod(self.framed))
        self.margin = padding * (self.pitch + 1)
        self.total = self.length + 2 * self.margin
        self.tile = min(self.length, tile_of(device))
        self.mirrors: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        for axis in (2, 1):
            place = np.arange(self.framed[axis])
            outside = (place < padding) | (place >= padding + shape[axis])
            seen = padding + symmetric_index(shape[axis], padding)
            borders, sources = (torch.from_numpy(each[outside]).to(device) for each in (place, seen))
            self.mirrors.append((axis + 1, borders, sources))

    def body(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows without margins, (map, frame pixel)."""
        return rows[:, self.margin : self.margin + self.length]

    def frames(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows as images with frames, (map, image, y, x)."""
        return self.body(rows).view(-1, *self.framed)

    def images(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows as images, (image, map, y, x)."""
        edge = slice(self.padding, -self.padding)
        return self.frames(rows)[:, :, edge, edge].transpose(0, 1)

    def mirror(self, rows: torch.Tensor) -> None:
        """Fill the frames with the mirrored pixels."""
        frames = self.frames(rows)
        for axis, outside, seen in self.mirrors:
            frames.index_copy_(axis, outside, frames.index_select(axis, seen))

    def fold(self, rows: torch.Tensor) -> None:
        """The transpose of `mirror`: add the frames to the pixels they show, and leave them zero."""
        frames = self.frames(rows)
        for axis, outside, seen in reversed(self.mirrors):
            frames.index_add_(axis, seen, frames.index_select(axis, outside))
            frames.index_fill_(axis, outside, 0)

    def tiles(self) -> Iterator[tuple[int, int]]:
        """First and last column (excluded) of each tile of `body`."""
        for start in range(0, self.length, self.tile):
            yield start, min(start + self.tile, self.length)

    def scatter(self, taps: torch.Tensor, rows: torch.Tensor, dilation: int, start: int) -> None:
        """Add what each tap sees, (tap, map, tile column), to the rows of the pixels that it is seen from."""
        columns = taps.shape[2]
        for tap in range(9):
            offset = (tap // 3 - 1) * dilation * self.pitch + (tap % 3 - 1) * dilation
            first = self.margin + start - offset
            rows[:, first : first + columns].add_(taps[tap])

    def gather(self, taps: torch.Tensor, rows: torch.Tensor, dilation: int, start: int) -> None:
        """The transpose of `scatter`, its taps in reversed order: no strides are negative."""
        count, columns = taps.shape[1:]
        first = rows.storage_offset() + self.margin + start - dilation * (self.pitch + 1)
        strides = (dilation * self.pitch, dilation, self.total, 1)
        shape = (3, 3, count, columns)
        taps.view(shape).copy_(rows.as_strided(shape, strides, first))


def forward(
    images: torch.Tensor,
    dilations: Sequence[int],
    bias: torch.Tensor,
    weights: Sequence[torch.Tensor],
    rows: torch.Tensor | None = None,
) -> tuple[torch.Tensor, Frames]:
    """Compute all maps of the block.

    Parameters
    ----------
    images : torch.Tensor of shape (image, channel, y, x)
        The input.
    dilations : sequence of int
        One for each layer.
    bias : torch.Tensor of shape (depth * width,)
        Of the layers' maps.
    weights : sequence of torch.Tensor of shape (width, channels + layer * width, 3, 3)
        The layers' kernels.
    rows : torch.Tensor, optional
        The result of an earlier call for images of the same shape, to be overwritten.

    Returns
    -------
    rows : torch.Tensor of shape (channels + depth * width, total)
        Input and maps, laid out as `frames` says.
    frames : Frames
        The layout.
    """
    count, channels, *sides = images.shape
    frames = Frames((count, sides[0], sides[1]), max(dilations), images.device)
    if rows is None or rows.shape[1] != frames.total:
        rows = images.new_empty(channels + len(bias), frames.total)
    frames.images(rows[:channels]).copy_(images)
    frames.mirror(rows[:channels])
    rows[channels:] = bias[:, None]
    body = frames.body(rows)
    groups = in_groups(weights, dilations)
    work = images.new_empty(max(len(group.matrix) for group in groups) * frames.tile)
    for group in groups:
        for start, stop in frames.tiles():
            taps = work[: len(group.matrix) * (stop - start)].view(len(group.matrix), stop - start)
            torch.mm(group.matrix[:, : group.known], body[: group.known, start:stop], out=taps)
            each = taps.view(len(group.dilations), 9, group.width, -1)
            for number, dilation in enumerate(group.dilations):
                frames.scatter(each[number], rows[group.made(number)], dilation, start)
        for number, dilation in enumerate(group.dilations):
            fresh, kernel = slice(group.known, group.start(number)), group.matrix[group.lines(number)]
            for start, stop in frames.tiles() if number else ():
                taps = work[: group.taps * (stop - start)].view(group.taps, stop - start)
                torch.mm(kernel[:, fresh], body[fresh, start:stop], out=taps)
                frames.scatter(taps.view(9, group.width, -1), rows[group.made(number)], dilation, start)
            rows[group.made(number)].relu_()
            frames.mirror(rows[group.made(number)])
    return rows, frames


def backward(
    gradient: torch.Tensor,
    rows: torch.Tensor,
    frames: Frames,
    dilations: Sequence[int],
    weights: Sequence[torch.Tensor],
    *,
    wrt_images: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor, list[torch.Tensor]]:
    """Gradients of the block, with respect to its images, its bias and its weights.

    Parameters
    ----------
    gradient : torch.Tensor of the shape of `rows`
        With respect to all maps; zero in frames and margins. It is overwritten.
    rows, frames
        What `forward` returned.
    dilations, weights
        What `forward` was given.
    wrt_images : bool
        Whether the gradient with respect to the images is wanted; None stands in for it otherwise.
    """
    channels = weights[0].shape[1]
    body, body_gradient = frames.body(rows), frames.body(gradient)
    groups = in_groups(weights, dilations)
    work = rows.new_empty(max(len(group.matrix) for group in groups) * frames.tile)
    weight_gradients: list[torch.Tensor] = []
    for group in reversed(groups):
        kernels, found = group.reversed_taps(group.matrix), torch.zeros_like(group.matrix)
        for number, dilation in reversed(list(enumerate(group.dilations))):
            made, lines = group.made(number), group.lines(number)
            frames.fold(gradient[made])
            body_gradient[made].masked_fill_(body[made] <= 0, 0)
            fresh = slice(group.known, made.start)
            for start, stop in frames.tiles() if number else ():
                taps = work[: group.taps * (stop - start)].view(group.taps, stop - start)
                frames.gather(taps.view(9, group.width, -1), gradient[made], dilation, start)
                found[lines, fresh].addmm_(taps, body[fresh, start:stop].t())
                body_gradient[fresh, start:stop].addmm_(kernels[lines, fresh].t(), taps)
        before = slice(0 if wrt_images else channels, group.known)
        for start, stop in frames.tiles():
            taps = work[: len(kernels) * (stop - start)].view(len(kernels), stop - start)
            for number, dilation in enumerate(group.dilations):
                part = taps[group.lines(number)].view(9, group.width, -1)
                frames.gather(part, gradient[group.made(number)], dilation, start)
            found[:, : group.known].addmm_(taps, body[: group.known, start:stop].t())
            if before.start < before.stop:
                body_gradient[before, start:stop].addmm_(kernels[:, before].t(), taps)
        weight_gradients[:0] = group.unpack(group.reversed_taps(found))
    if wrt_images:
        frames.fold(gradient[:channels])
    image_gradient = frames.images(gradient[:channels]) if wrt_images else None
    return image_gradient, body_gradient[channels:].sum(dim=1), weight_gradients
