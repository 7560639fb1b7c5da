"""Compiles kernels with NVRTC: no compiler has to be installed, and no device has to be there."""

from __future__ import annotations

from pathlib import Path

from cuda.bindings import nvrtc

from negmine_server.device.program import Kernel
from negmine_server.errors import DeviceFailed

SEARCH_SOURCES = Path(__file__).parents[1] / "scan" / "cuda"
# Sums of products are rounded as they are written, here as in the CPU's reference.
OPTIONS = ("-std=c++17", "-lineinfo", "--fmad=false")


def compile_cubin(kernel: Kernel, architecture: str) -> bytes:
    """The machine code of a kernel's whole source file for e.g. "sm_90"; a .cubin is machine code as it is.

    Raises:
        DeviceFailed: there is no NVRTC, or the source does not compile; with the compiler's log.
    """
    if kernel.source.suffix == ".cubin":
        return kernel.source.read_bytes()
    folders = (kernel.source.parent, SEARCH_SOURCES)
    options = [f"--gpu-architecture={architecture}", *OPTIONS, *(f"-I{folder}" for folder in folders)]
    options += [f"-D{name}={value}" for name, value in kernel.macros]
    try:
        failed, program = nvrtc.nvrtcCreateProgram(
            kernel.source.read_bytes() + b"\0", str(kernel.source).encode(), 0, None, None
        )
    except RuntimeError as error:  # the library is found when it is first called
        raise DeviceFailed(f"NVRTC, which compiles the kernels, cannot be used: {error}") from error
    _check(failed, kernel)
    try:
        (failed,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        if failed != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise DeviceFailed(f"{kernel.source.name} does not compile for {architecture}:\n{_log(program)}")
        failed, size = nvrtc.nvrtcGetCUBINSize(program)
        _check(failed, kernel)
        cubin = bytearray(size)
        (failed,) = nvrtc.nvrtcGetCUBIN(program, cubin)
        _check(failed, kernel)
        return bytes(cubin)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _log(program: nvrtc.nvrtcProgram) -> str:
    log = bytearray(nvrtc.nvrtcGetProgramLogSize(program)[1])
    nvrtc.nvrtcGetProgramLog(program, log)
    return log.rstrip(b"\0").decode(errors="replace").strip()


def _check(result: nvrtc.nvrtcResult, kernel: Kernel) -> None:
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise DeviceFailed(f"{kernel.source.name} cannot be compiled: {result.name}")
