"""`safevla bench bags`: recording, reading and working on bags, each beside a baseline."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from safevla_ros.assurance.statistics import percentiles
from safevla_ros.cli.failure import ExitCode, Failure

HEIGHT, WIDTH = 480, 640
SMALL = 224
RATE_HZ = 30
TOPICS = {"/camera/one": "raw", "/camera/two": "raw", "/camera/jpeg": "jpeg"}
NEVER_FULL = 1 << 34


def bags(
    seconds: Annotated[
        float, typer.Option(min=0.5, help="Length of the recording: two cameras at 30 Hz.")
    ] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way of reading.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the pixels.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time recording and reading of two 640x480 cameras and a JPEG one, in processor time, taking
    turns with: bare `mcap` for the same bytes, rosbags + OpenCV for the same pictures, and the limit
    of one raw read, one decode and one resize. Two processes against one are by the wall clock, and
    mean something only where two cores are free. --seconds 40 makes a bag of 2 GB.

    Example: safevla bench bags --json
    """
    report = measure(seconds, rounds, seed)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    record, read, workers = report["record"], report["read"], report["workers"]
    print(
        f"recording   {record['mb_s']:.0f} MB/s, {record['ratio']:.2f} times bare mcap; handing "
        f"over takes {record['latency_ms']['p50']:.3f} ms at p50, {record['latency_ms']['p99']:.3f} at p99"
    )
    for kind in ("raw", "jpeg"):
        each = read[kind]
        print(
            f"reading     {kind:<5} {each['ours_ms']:.2f} ms a picture, {each['ratio']:.2f} times as "
            f"fast as rosbags + OpenCV, {each['of_limit']:.2f} times the limit"
        )
    print(f"memory      {read['peak_mib']:.0f} MiB more over a bag of {read['bag_mib']:.0f} MiB")
    print(f"workers     two are {workers['speedup']:.2f} times as fast as one")


def measure(seconds: float, rounds: int, seed: int) -> dict[str, Any]:
    """The report; keys as `safevla bench bags --json` prints them."""
    import cv2

    cv2.setNumThreads(1)
    frames = _Frames(seconds, seed)
    with tempfile.TemporaryDirectory(prefix="safevla-bench-") as name:
        folder = Path(name)
        record = _record(frames, folder, rounds)
        bag = folder / "ours-0"
        read = {kind: _read(bag, topic, rounds) for topic, kind in list(TOPICS.items())[1:]}
        peak = _peak_mib(bag)
        workers = _workers(bag)
        size = sum(file.stat().st_size for file in bag.iterdir()) / 2**20
    return {
        "seconds": seconds,
        "rounds": rounds,
        "seed": seed,
        "record": record,
        "read": {
            **read,
            "ratio": min(each["ratio"] for each in read.values()),
            "of_limit": max(each["of_limit"] for each in read.values()),
            "peak_mib": peak,
            "bag_mib": size,
        },
        "workers": workers,
    }


class _Frames:
    """The recording's messages, made anew each time from a few pictures."""

    def __init__(self, seconds: float, seed: int) -> None:
        import cv2
        import numpy as np

        from safevla_ros.bags.own_messages import new_message, own_topic, to_cdr

        rng = np.random.default_rng(seed)
        # Shapes under noise, as a camera's: neither pure noise nor one colour.
        coarse = rng.integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        noise = rng.integers(0, 8, (8, *smooth.shape), dtype=np.uint8)
        raw, jpeg = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
        self.count = round(seconds * RATE_HZ)
        self.topics = [own_topic(t, raw if kind == "raw" else jpeg) for t, kind in TOPICS.items()]
        self._raw, self._jpeg = [], []
        for each in noise:
            picture = cv2.add(smooth, each)
            fields = {"height": HEIGHT, "width": WIDTH, "step": 3 * WIDTH, "encoding": "bgr8"}
            self._raw.append(to_cdr(new_message(raw, data=picture.reshape(-1), **fields)))
            data = cv2.imencode(".jpg", picture)[1]
            self._jpeg.append(to_cdr(new_message(jpeg, format="jpeg", data=data.reshape(-1))))
        self.bytes = self.count * (2 * len(self._raw[0]) + len(self._jpeg[0]))

    def __iter__(self) -> Iterator[Any]:
        from safevla_ros.bags import RawMessage

        for number in range(self.count):
            stamp = 10**9 + number * 10**9 // RATE_HZ
            for topic, kind in TOPICS.items():
                data = (self._raw if kind == "raw" else self._jpeg)[number % 8]
                yield RawMessage(topic, data, stamp, stamp)


def _record(frames: _Frames, folder: Path, rounds: int) -> dict[str, Any]:
    ours, bare, latency = [], [], []
    for number in range(rounds):
        ours.append(
            _processor_s(lambda n=number: latency.extend(_ours(frames, folder / f"ours-{n}")))
        )
        bare.append(_processor_s(lambda n=number: _bare(frames, folder / f"bare-{n}.mcap")))
    mb = frames.bytes / 1e6
    return {
        "mb_s": mb / min(ours),
        "bare_mcap_mb_s": mb / min(bare),
        "ratio": min(bare) / min(ours),
        "latency_ms": percentiles(latency),
    }


def _ours(frames: _Frames, folder: Path) -> list[float]:
    """Record; the milliseconds that each message held up who handed it over."""
    from safevla_ros.bags.writer import BagWriter, Limits

    writer = BagWriter(folder, {}, limits=Limits(queue_bytes=NEVER_FULL, min_free_bytes=0))
    for topic in frames.topics:
        writer.add_topic(topic)
    latency = []
    for message in frames:
        began = time.perf_counter()
        writer.write(message)
        latency.append(1e3 * (time.perf_counter() - began))
    writer.finish()
    if not writer.wait(600.0) or writer.progress.problem:
        raise Failure(ExitCode.FAILED, f"recording failed: {writer.progress.problem or 'no end'}")
    return latency


def _bare(frames: _Frames, path: Path) -> None:
    from mcap.writer import CompressionType, Writer

    from safevla_ros.bags.mcap_file import CHUNK_BYTES

    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        writer.start("ros2")
        channels = {}
        for topic in frames.topics:
            text = topic.definition.text.encode()
            schema = writer.register_schema(topic.type, "ros2msg", text)
            channels[topic.name] = writer.register_channel(topic.name, "cdr", schema)
        for each in frames:
            channel = channels[each.topic]
            writer.add_message(channel, each.log_time_ns, each.data, each.publish_time_ns)
        writer.finish()


def _read(bag: Path, topic: str, rounds: int) -> dict[str, float]:
    from safevla_ros.bags.reader import Bag
    from safevla_ros.bags.tensors import read_tensors
    from safevla_ros.cli.bench_bags_baseline import read_images

    count = 0

    def ours() -> None:
        nonlocal count
        count = sum(1 for _ in read_tensors(Bag(bag), topic, SMALL, SMALL))

    ways: dict[str, Callable[[], object]] = {
        "ours": ours,
        "rosbags": lambda: read_images(bag, topic, SMALL, SMALL),
        "limit": lambda: _limit(bag, topic),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_processor_s(way))
    best = {f"{name}_ms": 1e3 * min(each) / count for name, each in times.items()}
    return best | {
        "ratio": best["rosbags_ms"] / best["ours_ms"],
        "of_limit": best["ours_ms"] / best["limit_ms"],
    }


def _limit(bag: Path, topic: str) -> None:
    """Read the messages, decode each picture once, resize its middle once, in the fastest way that
    is known: less cannot be done."""
    import cv2
    import numpy as np

    from safevla_ros.bags.reader import Bag

    for raw in Bag(bag).messages([topic]):
        data = np.frombuffer(raw.data, np.uint8)
        if len(data) > HEIGHT * WIDTH * 3:
            whole = data[-HEIGHT * WIDTH * 3 :].reshape(HEIGHT, WIDTH, 3)
            middle = whole[:, (WIDTH - HEIGHT) // 2 : (WIDTH + HEIGHT) // 2]
            half = cv2.resize(middle, (HEIGHT // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        else:
            begin = raw.data.index(b"\xff\xd8")
            decoded = np.asarray(cv2.imdecode(data[begin:], cv2.IMREAD_REDUCED_COLOR_2))
            half = decoded[:, (WIDTH - HEIGHT) // 4 : (WIDTH + HEIGHT) // 4]
        cv2.resize(half, (SMALL, SMALL), interpolation=cv2.INTER_LINEAR)


def _peak_mib(bag: Path) -> float:
    """How much more memory a process has at most while it reads all pictures of a bag."""
    import subprocess
    import sys

    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from safevla_ros.bags.reader import Bag\n"
        "from safevla_ros.bags.tensors import read_tensors\n"
        "stream = read_tensors(Bag(Path(sys.argv[1])), sys.argv[2], 224, 224)\n"
        "next(stream)\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "for _ in stream: pass\n"
        "print((peak() - before) / 1024)\n"
    )
    command = [sys.executable, "-c", program, str(bag), next(iter(TOPICS))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _workers(bag: Path) -> dict[str, float]:
    from safevla_ros.bags.checking import check
    from safevla_ros.bags.many import each_bag

    def wall_s(workers: int) -> float:
        began = time.monotonic()
        done = list(each_bag(check, [bag] * 4, workers=workers))
        if any(each.result is None for each in done):
            raise Failure(ExitCode.FAILED, f"checking failed: {done[0].error}")
        return time.monotonic() - began

    one, two = wall_s(1), wall_s(2)
    return {"one_s": one, "two_s": two, "speedup": one / two}


def _processor_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
