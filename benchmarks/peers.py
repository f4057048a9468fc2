"""The rivals, each called as its own documentation says, and ours, behind one signature."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Call = Callable[[Array, Array], Array]
Centre = Literal["middle", "pixel"]  # (size - 1) / 2, or pixel size // 2


def ours(kernel_width: int, padding: float) -> Call:
    from lowdose_utils.reconstruct import fbp

    def reconstruct(sinograms: Array, angles: Array) -> Array:
        return fbp(sinograms, angles, kernel_width=kernel_width, padding=padding, device="cpu")

    return reconstruct


def scikit_image() -> Call:
    from skimage.transform import iradon

    def reconstruct(sinograms: Array, angles: Array) -> Array:
        degrees = np.rad2deg(angles)
        return np.stack([iradon(one.T, theta=degrees, filter_name="ramp") for one in sinograms])

    return reconstruct


def finufft_fbp(accuracy: float, upsampling: float) -> Call:
    """Type-1 non-uniform FFT of the filtered spectra: exact back-projection up to `accuracy`."""
    import finufft

    from lowdose_utils.reconstruct import filter_response

    def reconstruct(sinograms: Array, angles: Array) -> Array:
        slices, number, size = sinograms.shape
        period = 2 * size
        frequency = np.fft.rfftfreq(period)
        share = np.where((frequency == 0) | (frequency == 0.5), 1.0, 2.0) / period
        half = (size - 1) / 2 + 0.5 * (np.cos(angles) - np.sin(angles))[:, None]
        weight = filter_response(period, "ramp") * share * np.pi / number
        factor = (weight * np.exp(2j * np.pi * frequency * half)).astype(np.complex64)
        rows = (-2 * np.pi * frequency * np.sin(angles)[:, None]).ravel().astype(np.float32)
        columns = (2 * np.pi * frequency * np.cos(angles)[:, None]).ravel().astype(np.float32)
        spectra = (np.fft.rfft(sinograms, period).astype(np.complex64) * factor).reshape(slices, -1)
        return finufft.nufft2d1(
            rows, columns, spectra, (size, size), isign=1, eps=accuracy, upsampfac=upsampling
        ).real.astype(np.float32)

    return reconstruct


def gridrec(padded: bool) -> Call:
    """TomoPy's gridrec with a ramp; its absolute scale is too high, so its PSNR speaks of that as well."""
    import tomopy

    def reconstruct(sinograms: Array, angles: Array) -> Array:
        size = sinograms.shape[2]
        wide = np.pad(sinograms, ((0, 0), (0, 0), (size // 2, size // 2))) if padded else sinograms
        centre = wide.shape[2] // 2
        images = tomopy.recon(
            wide, angles, center=centre, sinogram_order=True, algorithm="gridrec", filter_name="ramlak"
        )
        start = (wide.shape[2] - size) // 2
        return images[:, start : start + size, start : start + size]

    return reconstruct


def reconstructions() -> dict[str, tuple[Callable[[], Call], Centre]]:
    """All methods by name, with where they centre an image; TomoPy's where it is installed."""
    methods: dict[str, tuple[Callable[[], Call], Centre]] = {
        "lowdose_utils, width 4, padding 2": (lambda: ours(4, 2.0), "middle"),
        "lowdose_utils, width 3, padding 1.5": (lambda: ours(3, 1.5), "middle"),
        "finufft, eps 1e-3, upsampling 1.25": (lambda: finufft_fbp(1e-3, 1.25), "middle"),
        "scikit-image iradon": (scikit_image, "pixel"),
    }
    if importlib.util.find_spec("tomopy"):
        methods["TomoPy gridrec, padded twofold"] = (lambda: gridrec(True), "pixel")
        methods["TomoPy gridrec, as it comes"] = (lambda: gridrec(False), "pixel")
    return methods


def our_projector(images: Array, angles: Array) -> Array:
    from lowdose_utils.project import Projector

    return Projector(angles, images.shape[-1], device="cpu").forward(images)


def scikit_image_projector(images: Array, angles: Array) -> Array:
    from skimage.transform import radon

    return np.stack([radon(one, theta=np.rad2deg(angles)).T for one in images])


def finufft_projector(images: Array, angles: Array) -> Array:
    """Type-2 non-uniform FFT, then an inverse FFT along each projection."""
    import finufft

    slices, size, _ = images.shape
    period = 2 * size
    frequency = np.fft.rfftfreq(period)
    half = (size - 1) / 2 + 0.5 * (np.cos(angles) - np.sin(angles))[:, None]
    rows = (-2 * np.pi * frequency * np.sin(angles)[:, None]).ravel().astype(np.float32)
    columns = (2 * np.pi * frequency * np.cos(angles)[:, None]).ravel().astype(np.float32)
    values = finufft.nufft2d2(
        rows, columns, images.astype(np.complex64), isign=-1, eps=1e-3, upsampfac=1.25
    ).reshape(slices, len(angles), -1)
    return np.fft.irfft(values * np.exp(-2j * np.pi * frequency * half), period)[..., :size].astype(
        np.float32
    )


PROJECTORS: dict[str, tuple[Call, Centre]] = {
    "lowdose_utils, width 4, padding 2": (our_projector, "middle"),
    "finufft, eps 1e-3, upsampling 1.25": (finufft_projector, "middle"),
    "scikit-image radon": (scikit_image_projector, "pixel"),
}
