"""What a graphics card does in the network stage: convolution, everything else, and waiting.

    python -m tests.benchmarks.graphics_card_share [--copies 4] [--preset standard] [--variants]

The network stage runs over the bundled sample, mirrored to so many copies along each axis, with the
default model: once as it is, for the seconds, and once under the profiler, for what the card did in
them. Prints one table: the share of convolution in the time that the card was busy and in the time
that the stage took, the arithmetic of the network per second beside the card's peak (a large matrix
product in bfloat16, in the same process), memory, and what went on beside the network.

`--variants` also times the network alone in other forms: numbers of tiles at once, formats,
cuDNN's own search for the fastest algorithm, bias and activation in one step, and channels of zeros
beside the grey values.

With `--device cpu` the same is done without a card, to try the benchmark itself.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import tifffile
import torch

from particleseg_app.models import Predictor, choose_device, find_model
from particleseg_app.models.joined_activation import JoinedActivation
from particleseg_app.models.model_folder import load_network
from particleseg_app.models.padded_input import PaddedInput
from particleseg_app.models.predictor import reduced_precision
from particleseg_app.models.quickening import quicken
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings
from particleseg_app.segmentation.background import background_test
from particleseg_app.segmentation.network_stage import NetworkStage
from particleseg_app.segmentation.plan import plan_network_run
from particleseg_app.units import Shape
from particleseg_app.volumes import Scan, import_scan, inspect_source, open_scan
from tests.benchmarks.network_share import PARTS, Stopwatch
from tests.benchmarks.whole_job import SAMPLE, mirrored

# Operations of torch whose kernels are the convolution itself, without bias and activation.
CONVOLUTIONS = ("cudnn_convolution", "convolution_overrideable", "slow_conv", "mkldnn_convolution")
_PEAK_EDGE = 8192
_MOST_KERNELS = 14


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """Seconds of one call, mean of `times` after one that does not count."""
    work()
    wait_for(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    wait_for(device)
    return (time.perf_counter() - started) / times


def peak_flops(device: torch.device) -> float:
    """Operations a second in a matrix product of two 8192² matrices of random bfloat16 values."""
    edge = _PEAK_EDGE if device.type == "cuda" else 512
    a, b = torch.randn((2, edge, edge), device=device, dtype=torch.bfloat16)
    return 2 * edge**3 / seconds_of(lambda: a @ b, device, 20)


def network_flops(network: torch.nn.Module, tile_shape: Shape) -> int:
    """Operations (a multiplication and an addition are two) of the network for one tile.

    Of the network as it was trained: channels of zeros are not counted. Nothing is computed.
    """
    from torch.utils.flop_counter import FlopCounterMode

    shapes_only = copy.deepcopy(network).to("meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        shapes_only(torch.empty((1, 1, *tile_shape), device="meta"))
    return int(counter.get_total_flops())


class Kernels:
    """What the profiler saw on the card: seconds by operation and by kernel."""

    def __init__(self, profiler: Any) -> None:
        self.by_operation: dict[str, float] = defaultdict(float)
        self.by_kernel: dict[str, tuple[float, int]] = {}
        self.copies = 0.0
        spans = []
        for event in profiler.events():
            on_card = event.device_type == torch.autograd.DeviceType.CUDA
            if on_card and not getattr(event, "is_user_annotation", False):
                seconds = event.time_range.elapsed_us() / 1e6
                spans.append((event.time_range.start, event.time_range.end))
                if event.name.startswith(("Memcpy", "Memset")):
                    self.copies += seconds
                before, count = self.by_kernel.get(event.name, (0.0, 0))
                self.by_kernel[event.name] = (before + seconds, count + 1)
            elif not on_card:
                self.by_operation[event.name] += event.self_device_time_total / 1e6
        self.busy = _covered(spans) / 1e6
        self.all = sum(seconds for seconds, _ in self.by_kernel.values())

    @property
    def convolution(self) -> float:
        """Seconds in kernels that a convolution started."""
        return sum(
            seconds
            for name, seconds in self.by_operation.items()
            if any(part in name for part in CONVOLUTIONS)
        )

    def slowest(self) -> list[tuple[str, float, int]]:
        found = [(name, seconds, count) for name, (seconds, count) in self.by_kernel.items()]
        return sorted(found, key=lambda one: -one[1])[:_MOST_KERNELS]


def _covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of intervals: streams of a card work at the same time."""
    covered, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def run_stage(
    stage: NetworkStage, device: torch.device, profiled: bool
) -> tuple[float, Stopwatch, Kernels | None]:
    """Seconds of the whole stage, of its parts, and what the card did if it was `profiled`."""
    from torch.profiler import ProfilerActivity, profile

    watch = Stopwatch()
    for part, (holder, method) in PARTS.items():
        watch.watch(getattr(stage, holder) if holder else stage, method, part)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) if profiled else nullcontext() as profiler:
        started = time.perf_counter()
        stage.run(Progress(), CancelToken())
        wait_for(device)
        seconds = time.perf_counter() - started
    return seconds, watch, Kernels(profiler) if profiled else None


def measure(scan: Scan, options: argparse.Namespace, folder: Path) -> None:
    device = choose_device(options.device)
    where = torch.device(device.id)
    entry = find_model(options.model)
    settings = RunSettings(10, 180, preset=options.preset, device=options.device)
    plan = plan_network_run(
        scan.shape, settings, entry.card, device=device if where.type == "cuda" else None
    )
    scaling = entry.card.normalisation.for_scan(scan.statistics)
    background = background_test(scan.statistics, scaling)
    predictor = Predictor(entry, device.id, plan.mirroring, CancelToken())

    def stage(name: str) -> NetworkStage:
        return NetworkStage(plan, scan, scaling, predictor, folder / name, background)

    tile = torch.randn((1, 1, *plan.tile_shape), device=where)
    network = load_network(entry)[0]
    per_tile = network_flops(network, plan.tile_shape) * predictor.passes
    peak = peak_flops(where)
    first_seconds, _, _ = run_stage(stage("first"), where, False)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    plain = stage("plain")
    seconds, watch, _ = run_stage(plain, where, False)
    predicted = plan.tile_count - plain.files.background_tiles()
    held = torch.cuda.max_memory_allocated(where) if where.type == "cuda" else 0
    reserved = torch.cuda.max_memory_reserved(where) if where.type == "cuda" else 0
    batch = plain.chunks.batch or 1
    together = tile.expand(batch, -1, -1, -1, -1).contiguous()
    alone = seconds_of(lambda: predictor.predict(together), where) / batch
    _, _, kernels = run_stage(stage("profiled"), where, True)
    assert kernels is not None

    rows = [
        ("device", device.title),
        ("scan, working scale", f"{scan.shape} → {plan.working_shape}"),
        ("tiles; predicted; at once", f"{plan.tile_count}; {predicted}; {batch}"),
        ("bias and activation in one kernel", "yes" if predictor.joined else "no"),
        ("channels of zeros beside the grey values", "yes" if predictor.padded else "no"),
        ("chunks, tiles along each axis", f"{len(plan.chunks)}, {plan.tiles_per_chunk}"),
        ("stage, first time in the process", f"{first_seconds:.2f} s"),
        ("stage", f"{seconds:.2f} s, {1e3 * seconds / predicted:.2f} ms a tile"),
        ("network alone", f"{1e3 * alone:.2f} ms a tile"),
        ("card busy", f"{kernels.busy:.2f} s, {100 * kernels.busy / seconds:.1f} % of the stage"),
        ("in convolution kernels", f"{kernels.convolution:.2f} s"),
        ("  of the time the card was busy", f"{_percent(kernels.convolution, kernels.busy)}"),
        ("  of the stage", f"{_percent(kernels.convolution, seconds)} (60 % aimed at)"),
        ("copying to and from the card", f"{kernels.copies:.2f} s"),
        ("arithmetic of a tile", f"{per_tile / 1e9:.1f} GFLOP"),
        ("card's peak, matrix product in bfloat16", f"{peak / 1e12:.1f} TFLOP/s"),
        ("arithmetic of the stage", _rate(per_tile * predicted / seconds, peak)),
        ("arithmetic of the network alone", _rate(per_tile / alone, peak)),
        (
            "arithmetic inside convolution kernels",
            _rate(per_tile * predicted / max(kernels.convolution, 1e-9), peak),
        ),
        (
            "memory of the card: used at most, held, free before",
            f"{held / 1e9:.2f}, {reserved / 1e9:.2f}, {device.memory_bytes / 1e9:.1f} GB",
        ),
        *((f"beside: {name}", f"{watch.seconds.get(name, 0.0):.2f} s") for name in PARTS),
    ]
    print("|  |  |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    print("\nkernels of the card, seconds, calls:")
    for name, spent, count in kernels.slowest():
        print(f"  {spent:8.3f} {count:7}  {name[:110]}")
    print("operations, seconds on the card:")
    slowest = sorted(kernels.by_operation.items(), key=lambda one: -one[1])
    for name, spent in slowest[:_MOST_KERNELS]:
        print(f"  {spent:8.3f}  {name}")
    if options.variants:
        _variants(network.to(where), tile, per_tile, peak, batch)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _rate(flops: float, peak: float) -> str:
    return f"{flops / 1e12:.2f} TFLOP/s, {100 * flops / peak:.1f} % of the peak"


def _variants(
    network: torch.nn.Module, tile: torch.Tensor, per_tile: int, peak: float, batch: int
) -> None:
    """The network alone in other forms, milliseconds a tile."""
    where = tile.device
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    reduced = reduced_precision(where) or torch.bfloat16

    def tiles(count: int) -> torch.Tensor:
        return torch.randn((count, *tile.shape[1:]), device=where)

    def run(name: str, work: Callable[[], object], count: int) -> None:
        try:
            spent = seconds_of(work, where, 3) / count
        except (RuntimeError, AttributeError) as error:
            print(f"  {name:44} failed: {str(error).splitlines()[0][:80]}", flush=True)
            return
        print(f"  {name:44}{1e3 * spent:9.3f} ms  {_rate(per_tile / spent, peak)}", flush=True)

    def autocast(precision: torch.dtype, values: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(where.type, dtype=precision):
            answer: torch.Tensor = network(values)
            return answer

    print("\nthe network alone, a tile:")
    for count in (1, 4, batch, 2 * batch) if where.type == "cuda" else (1,):
        values = tiles(count)
        run(f"{count} at once", lambda v=values: autocast(reduced, v), count)  # type: ignore[misc]
    values = tiles(batch)
    run("float16", lambda: autocast(torch.float16, values), batch)
    run("float32", lambda: autocast(torch.float32, values), batch)
    whole = _copy_of(network, reduced, torch.channels_last_3d, where)
    given = values.to(reduced)
    # One channel has no order of its own, so the strides of a channels-last tensor are set by hand.
    shape = given.shape
    ordered = given.as_strided(
        shape, (math.prod(shape[1:]), 1, shape[3] * shape[4], shape[4], 1)
    ).clone(memory_format=torch.preserve_format)

    def bare(module: torch.nn.Module, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        def work() -> torch.Tensor:
            with torch.inference_mode():
                answer: torch.Tensor = module(values)
                return answer

        return work

    run("weights in bfloat16, no autocast", bare(whole, given), batch)
    run("  channels last from the first layer", bare(whole, ordered), batch)
    plain = _copy_of(network, reduced, torch.contiguous_format, where)
    run("  channels first", bare(plain, given), batch)
    fused = _copy_of(network, reduced, torch.channels_last_3d, where)
    if where.type == "cuda":
        if not quicken(JoinedActivation(fused, reduced), bare(fused, given[:1])):
            print("  bias and activation cannot be joined")
        run("  bias and activation in one kernel", bare(fused, given), batch)
    if quicken(PaddedInput(fused, reduced), bare(fused, given[:1])):
        run("  and channels of zeros beside the grey values", bare(fused, given), batch)
    else:
        print("  the grey values cannot have channels of zeros beside them")
    torch.backends.cudnn.benchmark = True
    run("  cuDNN looks for the fastest", bare(whole, given), batch)
    run("  with all of these", bare(fused, given), batch)
    run("as it is, cuDNN looks for the fastest", lambda: autocast(reduced, values), batch)
    torch.backends.cudnn.benchmark = False


def _copy_of(
    network: torch.nn.Module, precision: torch.dtype, order: torch.memory_format, where: Any
) -> torch.nn.Module:
    return copy.deepcopy(network).to(where, precision).to(memory_format=order)  # type: ignore[call-overload]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="default")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's own)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        grey = mirrored(tifffile.imread(sorted(SAMPLE.glob("*.tif"))), options.copies)
        tifffile.imwrite(folder / "scan.tif", grey)
        import_scan(
            inspect_source(folder / "scan.tif"), folder / "scan.h5", Progress(), CancelToken()
        )
        with open_scan(folder / "scan.h5") as scan:
            measure(scan, options, folder)


if __name__ == "__main__":
    main()
