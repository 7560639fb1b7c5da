"""Compile every kernel for the devices that are served, and hold its machine code to what a device allows.

    python .ci/compiled.py

No device is needed. Prints a table; fails where registers are spilled, where a block does not fit, or where a scanner
does not come out as the tensor instruction that it is written for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import triton
from negmine_server.device.compiler import compile_cubin
from negmine_server.device.devices import scanners_for
from negmine_server.device.program import Kernel
from negmine_server.scan.cuda import hamming, int8, planes, popc
from negmine_server.scan.cuda.variants import Variant

ROOT = Path(__file__).parents[1]
READER = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
REGISTERS = 65_536  # of a multiprocessor, and the most that a block may have
KIB = 1024
RESERVED = 1 * KIB  # of a block's shared memory, for the system
WORDS_OF_HALVES = 2  # codes up to this wide take products of 128 bits


@dataclass(frozen=True)
class Architecture:
    """What a multiprocessor has: threads, bytes of shared memory, and how much of that a block may have.

    Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
    """

    capability: tuple[int, int]
    threads: int
    shared: int
    shared_of_block: int
    tuned: bool = False
    """Kernels are cut for it: as many blocks as they count on run at once, and codes of more widths are tried."""

    @property
    def name(self) -> str:
        return "sm_{}{}".format(*self.capability)


ARCHITECTURES = (
    Architecture((7, 5), 1024, 64 * KIB, 64 * KIB),
    Architecture((8, 0), 2048, 164 * KIB, 163 * KIB),
    Architecture((9, 0), 2048, 228 * KIB, 227 * KIB, tuned=True),
    Architecture((10, 0), 2048, 228 * KIB, 227 * KIB),
)
DECLARED = re.compile(r"^KERNEL\((\w+), (\w+)\) (\w+)\(", re.MULTILINE)
# What a scanner's products have to be, by the beginning of its name; elsewhere they are what the machine makes of them.
TENSOR = re.compile(r"\b(?:BMMA|IMMA|IGMMA|UTC\w*MMA)\S*")
EXPECTED = {
    ("scan_hamming", "sm_80"): "BMMA.168",
    ("scan_hamming", "sm_90"): "BMMA.168",
    ("scan", "sm_80"): "IMMA.16832",
    ("scan", "sm_90"): "IGMMA.64",
}


class Build(NamedTuple):
    """A kernel, how many blocks of it a multiprocessor is to hold, and what sets it apart from others of its name."""

    kernel: Kernel
    blocks: int
    variant: str


@dataclass(frozen=True)
class Code:
    """What a kernel became."""

    build: Build
    architecture: Architecture
    registers: int
    shared: int
    """Bytes of a block, without what the system reserves."""
    spilled: int
    """Bytes of a thread's stack and local memory."""
    tensor: str

    @property
    def blocks(self) -> int:
        """How many a multiprocessor holds at once."""
        threads = self.build.kernel.threads
        by_registers = REGISTERS // (-(-self.registers // 8) * 8 * threads)
        by_shared = self.architecture.shared // (self.shared + RESERVED)
        return min(by_registers, by_shared, self.architecture.threads // threads)

    @property
    def problems(self) -> list[str]:
        """What is wrong with it."""
        kernel, architecture = self.build.kernel, self.architecture
        wanted = EXPECTED.get((kernel.name, architecture.name), "")
        if kernel.name == "scan_hamming":
            wanted += "256.AND.POPC" if dict(kernel.macros)["WORDS"] > WORDS_OF_HALVES else "128.AND.POPC"
        found = []
        if self.spilled:
            found.append(f"{self.spilled} bytes are spilled")
        if self.shared > architecture.shared_of_block:
            found.append(f"{self.shared} bytes of shared memory do not fit")
        if self.blocks < (self.build.blocks if architecture.tuned else 1):
            found.append(f"a multiprocessor holds {self.blocks} blocks")
        if not self.tensor.startswith(wanted):
            found.append(f"{self.tensor or 'nothing'} instead of {wanted}")
        return found


def fixed_kernels(folder: str) -> Iterator[Build]:
    """Kernels that are compiled in one way, as their sources declare them."""
    for source in sorted((ROOT / folder).rglob("*.cu")):
        declared = DECLARED.findall(source.read_text(encoding="utf-8"))
        if all(threads.isdigit() for threads, _, _ in declared):
            yield from (
                Build(Kernel(source, name, int(threads)), int(blocks), "") for threads, blocks, name in declared
            )


def kernels_of(architecture: Architecture) -> Iterator[Build]:
    """Everything that is launched on such a device."""
    yield from fixed_kernels("server")
    if architecture.tuned:
        yield from fixed_kernels("bench")
    scanners = scanners_for(architecture.capability)
    for words in (1, 4, 12) if architecture.tuned else (4,):
        if scanners.symmetric == "b1":
            yield from builds(hamming.variants(words))
        # Without tensor cores; where those are measured against it, as well.
        if scanners.symmetric == "popc" or architecture.tuned:
            yield from builds(popc.variants(words))
        if scanners.asymmetric == "planes" or architecture.tuned:
            for bits in (planes.PLANES, 4):
                yield Build(planes.layout(words, bits), 1, f"WORDS={words} PLANES={bits}")
                yield from builds(planes.variants(words, bits))
        if "int8" in scanners:
            for symmetric in (True, False):
                scanner = int8.Int8Scanner(words, symmetric, architecture.capability)
                scoring = "symmetric" if symmetric else "asymmetric"
                yield Build(scanner.compiled(), scanner.tiles.blocks, f"WORDS={words} {scoring}")


def builds(variants: Iterable[Variant]) -> Iterator[Build]:
    """A scanner's variants."""
    for variant in variants:
        macros = " ".join(f"{name}={value}" for name, value in variant.kernel.macros)
        yield Build(variant.kernel, variant.blocks, macros)


def compiled(build: Build, architecture: Architecture) -> Code:
    """Compiles a kernel and reads its machine code."""
    kernel = build.kernel
    with tempfile.TemporaryDirectory() as scratch:
        cubin = Path(scratch) / "kernel.cubin"
        cubin.write_bytes(compile_cubin(kernel, architecture.name))
        usage = read(cubin, "-res-usage")
        machine_code = read(cubin, "-sass", "-fun", kernel.name)
    found = re.search(rf"Function {kernel.name}:\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", usage)
    assert found is not None, f"{kernel.name} is in its own machine code"
    registers, stack, shared, local = map(int, found.groups())
    # From 9.0 on what is reserved is counted, where there is any.
    shared = max(0, shared - RESERVED * (architecture.capability >= (9, 0))) + kernel.shared_bytes
    tensor = sorted(set(TENSOR.findall(machine_code)))
    return Code(build, architecture, registers, shared, stack + local, " ".join(tensor))


def read(cubin: Path, *options: str) -> str:
    command = [READER, *options, cubin]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


def main() -> None:
    work = [(build, architecture) for architecture in ARCHITECTURES for build in kernels_of(architecture)]
    left_out = set((ROOT / "server").rglob("*.cu")) - {build.kernel.source for build, _ in work}
    assert not left_out, f"nobody compiles {left_out}"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = list(pool.map(compiled, *zip(*work, strict=True)))
    for code in codes:
        kernel, _, variant = code.build
        row = f"{code.architecture.name:7}{kernel.name:18}{kernel.threads:4} threads ×{code.blocks:3}"
        row += f"{code.registers:5} registers{code.shared:8} B shared"
        sys.stdout.write(f"{row}  {code.tensor:22}{variant}".rstrip() + "\n")
        sys.stdout.writelines(f"    WRONG: {problem}\n" for problem in code.problems)
    wrong = sum(bool(code.problems) for code in codes)
    sys.exit(f"{wrong} of {len(codes)} kernels are not as they should be" if wrong else None)


if __name__ == "__main__":
    main()
