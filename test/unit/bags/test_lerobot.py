"""The way of episodes to LeRobot's format and back."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_episode import write

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import bags_below
from safevla_ros.bags.dataset import EpisodeDataset


@pytest.fixture
def exported(tmp_path: Path) -> tuple[EpisodeDataset, Path]:
    """Two episodes of two sessions, and their LeRobot dataset."""
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_export import export_lerobot

    bags = [
        write(tmp_path / "bags", f"e-{number}", steps=3 + number, session=f"s-{number}")
        for number in range(2)
    ]
    export_lerobot(bags, tmp_path / "lerobot", fps=2)
    return EpisodeDataset.open(bags), tmp_path / "lerobot"


def test_the_files_are_those_of_the_format(exported: tuple[EpisodeDataset, Path]) -> None:
    import pyarrow.parquet as pq

    _, folder = exported
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (2, 7, 2)
    assert info["features"]["cost"]["names"] == ["drop", "zone_intrusion"]
    # Every other one would be taken as what a policy is to put out.
    assert [name for name in info["features"] if name.startswith("action")] == ["action"]
    table = pq.read_table(folder / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(table.column_names) == set(info["features"])
    assert table["index"].to_pylist() == list(range(7))
    assert table["timestamp"].to_pylist() == [0.0, 0.5, 1.0, 0.0, 0.5, 1.0, 1.5]
    assert table["next.reward"].to_pylist() == [0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 10.0]
    episodes = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    spans = [(e["dataset_from_index"], e["dataset_to_index"], e["length"]) for e in episodes]
    assert spans == [(0, 3, 3), (3, 7, 4)]
    stats = json.loads((folder / "meta/stats.json").read_text())
    assert stats["cost"]["max"] == [0.0, 1.0]
    assert stats["cost"]["mean"] == pytest.approx([0.0, 2 / 7])
    assert len(stats["observation.images.navigation"]["mean"]) == 3


def test_pandas_finds_the_instructions_as_lerobot_looks_for_them(
    exported: tuple[EpisodeDataset, Path],
) -> None:
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(exported[1] / "meta/tasks.parquet")
    assert tasks.iloc[0].name == "find the mug"
    assert tasks.loc["find the mug"].task_index == 0


def test_lerobot_itself_reads_them(
    exported: tuple[EpisodeDataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    module = pytest.importorskip("lerobot.datasets.lerobot_dataset", exc_type=ImportError)
    data, folder = exported
    deltas = {"action": [0.0, 0.5], "cost": [0.0, 0.5]}
    later = module.LeRobotDataset("local/safevla", root=folder, delta_timestamps=deltas)[0]
    np.testing.assert_allclose(later["cost"], [data[0]["cost"], data[1]["cost"]])
    read = module.LeRobotDataset("local/safevla", root=folder)
    assert (len(read), read.num_episodes, read.fps) == (7, 2, 2)
    for index in (0, 1, 6):
        sample, item = data[index], read[index]
        assert item["task"] == "find the mug"
        np.testing.assert_allclose(item["cost"], sample["cost"])
        np.testing.assert_allclose(item["predicted_cost"], sample["predicted_cost"])
        np.testing.assert_allclose(item["margin"], sample["margin"])
        np.testing.assert_allclose(item["action"], sample["action.applied"], atol=1e-6)
        np.testing.assert_allclose(item["proposed_action"], sample["action.proposed"], atol=1e-6)
        picture = item["observation.images.navigation"].permute(1, 2, 0) * 255
        np.testing.assert_allclose(picture, sample["observation.images.navigation"], atol=0.5)


def test_the_way_to_lerobot_and_back_loses_nothing(
    exported: tuple[EpisodeDataset, Path], tmp_path: Path
) -> None:
    from safevla_ros.bags.lerobot_import import import_lerobot

    data, folder = exported
    done = import_lerobot(folder, tmp_path / "again")
    assert [bag.name for bag in done.bags] == ["e-0", "e-1"]
    done = import_lerobot(folder, tmp_path / "again")
    assert list(done.bags) == [], "what is there is not written again"
    again = EpisodeDataset.open(tmp_path / "again")
    assert [(e.session, e.outcome, e.instruction) for e in again.episodes] == [
        (e.session, e.outcome, e.instruction) for e in data.episodes
    ]
    for name in ("action_names", "cost_names", "state_names"):
        assert getattr(again, name) == getattr(data, name)
    for key in (keys.SPECIFICATION, keys.SPECIFICATION_HASH, keys.SEED, keys.OUTCOME_REASON):
        assert again.episodes[0].provenance[key] == data.episodes[0].provenance[key] != ""
    for one, other in zip(data, again, strict=True):
        for name, value in one.items():
            if name != "stamp_ns":
                np.testing.assert_allclose(value, other[name], atol=1e-6, err_msg=name)


def test_pictures_of_another_size_are_named_and_there_is_no_dataset(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_export import export_lerobot

    bags = [write(tmp_path, "e-0"), write(tmp_path, "e-1", height=10)]
    expected = (
        "e-1: expected the cameras navigation 8 x 6, manipulation 8 x 6 of the first bag, got "
    )
    with pytest.raises(BagError, match=expected + "navigation 8 x 10"):
        export_lerobot(bags, tmp_path / "lerobot", fps=2)
    assert not (tmp_path / "lerobot").exists()


def test_an_episode_that_cannot_be_read_is_passed_over_whole_and_made_up_for(
    exported: tuple[EpisodeDataset, Path], tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from safevla_ros.bags.lerobot_import import import_lerobot

    _, folder = exported
    path = folder / "data/chunk-000/file-000.parquet"
    whole = path.read_bytes()
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[2]["observation.images.navigation"]["bytes"] = b""
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    done = import_lerobot(folder, tmp_path / "again")
    (failure,) = done.failures
    assert "lerobot: episode e-0: column observation.images.navigation: expected a pict" in failure
    assert [bag.name for bag in bags_below(tmp_path / "again")] == ["e-1"]
    path.write_bytes(whole)
    done = import_lerobot(folder, tmp_path / "again")
    assert [bag.name for bag in done.bags] == ["e-0"]
    assert len(EpisodeDataset.open(tmp_path / "again")) == 7


def test_episodes_are_found_in_files_and_videos_that_hold_several(
    exported: tuple[EpisodeDataset, Path], tmp_path: Path
) -> None:
    """As LeRobot itself writes them: one row group for all, and a camera's pictures in one video."""
    av = pytest.importorskip("av")
    import pyarrow as pa
    import pyarrow.parquet as pq

    from safevla_ros.bags.lerobot_import import import_lerobot

    data, folder = exported
    path = folder / "data/chunk-000/file-000.parquet"
    column, fps = "observation.images.navigation", 2
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"][column]["dtype"] = "video"
    info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    (folder / "meta/info.json").write_text(json.dumps(info))
    place = {f"videos/{column}/{key}": 0 for key in ("chunk_index", "file_index")}
    described = folder / "meta/episodes/chunk-000/file-000.parquet"
    episodes = pq.read_table(described).to_pylist()
    for episode in episodes:
        begin_s = episode["dataset_from_index"] / fps
        episode.update(place | {f"videos/{column}/from_timestamp": begin_s})
    pq.write_table(pa.Table.from_pylist(episodes), described)
    video = folder / info["video_path"].format(video_key=column, chunk_index=0, file_index=0)
    video.parent.mkdir(parents=True)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.gop_size = 64, 48, 5
        for index in range(7):  # each brighter than the one before
            pixels = np.full((48, 64, 3), 30 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())

    done = import_lerobot(folder, tmp_path / "again", workers=2)
    assert list(done.failures) == []
    again = EpisodeDataset.open(tmp_path / "again")
    for index, (one, other) in enumerate(zip(data, again, strict=True)):
        assert other[column].mean() == pytest.approx(30 * index, abs=4)
        np.testing.assert_allclose(one["cost"], other["cost"])
        kept = "observation.images.manipulation"
        np.testing.assert_array_equal(one[kept], other[kept])

    video.write_bytes(video.read_bytes()[:200])
    done = import_lerobot(folder, tmp_path / "cut")
    assert len(done.failures) == 2
    assert "file-000.mp4: cannot be read" in done.failures[0]


def test_several_episodes_of_one_name_all_become_bags_within_the_folder(
    exported: tuple[EpisodeDataset, Path], tmp_path: Path
) -> None:
    from safevla_ros.bags.lerobot_import import import_lerobot

    _, folder = exported
    ours = json.loads((folder / "meta/safevla.json").read_text())
    for episode in ours["episodes"]:
        episode["episode_id"] = "../e"
    (folder / "meta/safevla.json").write_text(json.dumps(ours))
    done = import_lerobot(folder, tmp_path / "again")
    assert [bag.relative_to(tmp_path) for bag in done.bags] == [
        Path("again/_e"),
        Path("again/_e-2"),
    ]


def test_a_second_export_to_the_same_place_is_refused(many: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_export import export_lerobot

    refused: list[str] = []

    def at_once(what: str, done: int, total: int) -> None:
        if not refused:
            with pytest.raises(BagError) as caught:
                export_lerobot(many, tmp_path / "lerobot", fps=2)
            refused.append(str(caught.value))

    assert export_lerobot(many, tmp_path / "lerobot", fps=2, progress=at_once).episodes == 3
    assert ".lerobot.exporting: another export is at work there" in refused[0]


def test_what_is_no_dataset_of_this_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_import import import_lerobot

    with pytest.raises(BagError, match=r"info\.json: expected a LeRobot dataset"):
        import_lerobot(tmp_path, tmp_path / "bags")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v2.1"}')
    with pytest.raises(BagError, match=r"expected v3\.x, got 'v2\.1'"):
        import_lerobot(tmp_path, tmp_path / "bags")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    """Bags of which each lacks a cost or a joint of another, one that is none, and an empty one."""
    folder = tmp_path / "many"
    bags = [
        write(folder, "e-0", costs=("zone_intrusion",)),
        write(folder, "e-1", commands="gripper"),
        folder / "e-2",
        write(folder, "e-3", steps=0),
        write(folder, "e-4", steps=5),
    ]
    bags[2].mkdir()
    (bags[2] / "e-2_0.mcap").write_bytes(b"rubbish")
    return bags


def test_what_is_exported_is_what_the_bags_hold_together(many: list[Path], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    from safevla_ros.bags.lerobot_export import export_lerobot

    done = export_lerobot(many, tmp_path / "lerobot", fps=2)
    assert (done.episodes, done.steps) == (3, 11)
    assert len(done.failures) == 1
    assert "e-2_0.mcap: not an MCAP file" in done.failures[0]
    assert done.notes == {many[3]: ["no step of an episode"]}
    data = EpisodeDataset.open(many)
    info = json.loads((tmp_path / "lerobot/meta/info.json").read_text())
    for column, names in (("cost", data.cost_names), ("action", data.action_names)):
        assert info["features"][column]["names"] == list(names)
    rows = pq.read_table(tmp_path / "lerobot/data/chunk-000/file-000.parquet").to_pylist()
    sample_keys = {"action": "action.applied", "proposed_action": "action.proposed"}
    columns = ("cost", "predicted_cost", "margin", "remaining", "applicable", "observation.state")
    for row, sample in zip(rows, data, strict=True):
        for column in (*columns, *sample_keys):
            expected = sample[sample_keys.get(column, column)]
            np.testing.assert_array_equal(np.array(row[column], expected.dtype), expected, column)
    # What the whole is normalised by is what one pass over all samples gives.
    stats = json.loads((tmp_path / "lerobot/meta/stats.json").read_text())
    pixels = np.concatenate([s["observation.images.navigation"].reshape(-1, 3) for s in data]) / 255
    found = stats["observation.images.navigation"]
    np.testing.assert_allclose(np.ravel(found["mean"]), pixels.mean(0))
    np.testing.assert_allclose(np.ravel(found["std"]), pixels.std(0))
    speeds = np.array([s["action.applied"] for s in data], np.float64)
    np.testing.assert_allclose(stats["action"]["mean"], speeds.mean(0))


def test_an_export_that_was_killed_goes_on_and_gives_the_same_whoever_does_it(
    many: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_export import export_lerobot

    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from safevla_ros.bags.lerobot_export import export_lerobot\n"
        "def progress(what, done, total):\n"
        "    if what == sys.argv[2] and done == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "bags = sorted(Path(sys.argv[1]).iterdir())\n"
        "export_lerobot(bags, Path('killed'), fps=2, progress=progress)\n"
    )
    # Once among the bags, once while what they gave is joined.
    for stage in ("converting bags", "joining episodes"):
        command = [sys.executable, "-c", program, str(many[0].parent), stage]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        killed = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "killed").exists()
    seen: list[tuple[str, int, int]] = []
    export_lerobot(
        many, tmp_path / "killed", fps=2, progress=lambda *told: seen.append(told), workers=2
    )
    # The bad bag alone is looked at again.
    assert seen[0][1:] == (4, 5)
    assert not list(tmp_path.glob(".killed*"))
    export_lerobot(many, tmp_path / "alone", fps=2)
    assert contents(tmp_path / "killed") == contents(tmp_path / "alone")


def test_a_bag_that_has_changed_is_converted_again(many: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.catalogue import label
    from safevla_ros.bags.lerobot_export import export_lerobot

    def stop(what: str, done: int, total: int) -> None:
        if what == "joining episodes":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_lerobot(many, tmp_path / "lerobot", fps=2, progress=stop)
    label(many[0], {}, outcome="FAILURE")
    export_lerobot(many, tmp_path / "lerobot", fps=2)
    ours = json.loads((tmp_path / "lerobot/meta/safevla.json").read_text())
    assert [each["outcome"] for each in ours["episodes"]] == ["FAILURE", "SUCCESS", "SUCCESS"]


FORMAT = Path(__file__).parent / "lerobot_v3.json"
"""What LeRobot itself says of its format, of its constants and of the columns of `exported`."""


def said_by_lerobot(features: dict[str, Any]) -> dict[str, Any]:
    """What stands in FORMAT, from the installed LeRobot."""
    utils = pytest.importorskip("lerobot.datasets.utils", exc_type=ImportError)
    module = importlib.import_module("lerobot.datasets.lerobot_dataset")
    shaped = {k: v | {"shape": tuple(v["shape"])} for k, v in features.items()}
    schema = utils.get_hf_features_from_features(shaped).arrow_schema
    info = utils.create_empty_dataset_info(module.CODEBASE_VERSION, 2, {}, use_videos=False)
    return {
        "codebase_version": module.CODEBASE_VERSION,
        "info": utils.INFO_PATH,
        "info_keys": sorted(info),
        "stats": utils.STATS_PATH,
        "tasks": utils.DEFAULT_TASKS_PATH,
        "episodes": utils.DEFAULT_EPISODES_PATH,
        "data": utils.DEFAULT_DATA_PATH,
        "default_features": json.loads(json.dumps(utils.DEFAULT_FEATURES)),
        "columns": {field.name: str(field.type) for field in schema},
    }


def test_the_described_format_is_the_installed_one(exported: tuple[EpisodeDataset, Path]) -> None:
    info = json.loads((exported[1] / "meta/info.json").read_text())
    assert said_by_lerobot(info["features"]) == json.loads(FORMAT.read_text())


def test_files_keys_and_columns_are_those_that_lerobot_describes(
    exported: tuple[EpisodeDataset, Path],
) -> None:
    """As the test above says where LeRobot is installed, this one is as good as asking it."""
    import pyarrow.parquet as pq

    _, folder = exported
    wanted = json.loads(FORMAT.read_text())
    first = {"chunk_index": 0, "file_index": 0}
    data, episodes = (wanted[key].format(**first) for key in ("data", "episodes"))
    files = {data, episodes, wanted["info"], wanted["stats"], wanted["tasks"]}
    assert set(contents(folder)) == files | {"meta/safevla.json"}
    info = json.loads((folder / wanted["info"]).read_text())
    assert sorted(info) == wanted["info_keys"]
    assert info["codebase_version"] == wanted["codebase_version"]
    assert info["data_path"] == wanted["data"]
    assert wanted["default_features"].items() <= info["features"].items()
    # Entries of a list are `item` to Arrow and `element` to parquet.
    columns = {f.name: str(f.type) for f in pq.read_schema(folder / data)}
    found = {name: kind.replace("<element:", "<item:") for name, kind in columns.items()}
    assert found == wanted["columns"]
    for name, figures in json.loads((folder / wanted["stats"]).read_text()).items():
        image = info["features"][name]["dtype"] == "image"
        shape = (3, 1, 1) if image else tuple(info["features"][name]["shape"])
        assert {np.shape(figures[key]) for key in ("min", "max", "mean", "std")} == {shape}
    # What its reader looks up of an episode.
    first_episode = pq.read_table(folder / episodes).to_pylist()[0]
    places = ("data", "meta/episodes")
    indices = {f"{where}/{what}": value for where in places for what, value in first.items()}
    span = {"episode_index": 0, "length": 3, "dataset_from_index": 0, "dataset_to_index": 3}
    assert first_episode == {"tasks": ["find the mug"]} | indices | span
