"""Episodes that were written where no graph runs, and their way to LeRobot's format and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import Worst, bags_below, entry
from safevla_ros.bags.checking import check
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter, WrittenStep
from safevla_ros.robot.state import BaseVelocity, Command, Joint
from safevla_ros.safety.accounting import Status, TermCost
from safevla_ros.safety.specification import load_specification

NAN = float("nan")
STEP_NS = 500_000_000


def write(folder: Path, name: str, *, steps: int = 3, session: str = "s", height: int = 6) -> Path:
    """An episode that goes faster in every step, is held back in the second and charged there."""
    info = EpisodeInfo(name, "find the mug", task="find", robot="sim", session=session, seed="7")
    rng = np.random.default_rng(len(name))
    with EpisodeWriter(folder / name, info, load_specification("household")) as writer:
        for step in range(steps):
            charged = float(step == 1)
            zone = TermCost(
                "zone_intrusion", Status.OK, charged, 0.5 - charged, float(step >= 1), NAN, "stairs"
            )
            drop = TermCost("drop", Status.NOT_APPLICABLE, 0.0, NAN, 0.0, 1.0, "no gripper")
            speed = 0.1 * (step + 1)
            writer.add(
                WrittenStep(
                    stamp_ns=(step + 1) * STEP_NS,
                    ends_ns=(step + 2) * STEP_NS,
                    images={
                        camera: rng.integers(0, 255, (height, 8, 3)).astype(np.uint8)
                        for camera in ("navigation", "manipulation")
                    },
                    joints={"lift": Joint(0.5), "gripper": Joint(0.01 * step)},
                    velocity=BaseVelocity(0.1),
                    object_in_hand=step == 2,
                    proposed=Command(BaseVelocity(speed), {"lift": 0.6}),
                    applied=Command(BaseVelocity(speed / 2 if step == 1 else speed), {"lift": 0.6}),
                    costs=(zone, drop),
                    token=step,
                    log_probability=-0.5 if step else None,
                    decision="LIMIT" if step == 1 else "PASS",
                    predicted={"zone_intrusion": 1.0} if step == 1 else {},
                )
            )
        writer.finish("SUCCESS", "it is held", end_ns=(steps + 1) * STEP_NS)
    return folder / name


def test_a_written_episode_is_a_bag_like_any_other(tmp_path: Path) -> None:
    bag = write(tmp_path, "e-1")
    found = entry(bag)
    assert (found.outcome, found.instruction, found.complete) == ("SUCCESS", "find the mug", True)
    assert found.costs == {"zone_intrusion": 1.0, "drop": 0.0}
    assert found.worst == Worst("zone_intrusion", -0.5, 1)
    assert check(bag).sound
    with AnyReader([bag]) as reader:
        assert reader.message_count == 3 + 4 * 3
    with (bag / "e-1_0.mcap").open("rb") as stream:
        assert sum(1 for _ in make_reader(stream).iter_messages()) == 15

    data = EpisodeDataset.open(bag)
    assert data.cameras == ("navigation", "manipulation")
    first, held_back, last = data
    assert [s["action.token"] for s in data] == [0, 1, 2]
    np.testing.assert_allclose(held_back["action.proposed"][:1], [0.2])
    np.testing.assert_allclose(held_back["action.applied"][:1], [0.1])
    assert [bool(s["imitate"]) for s in data] == [True, False, True]
    assert np.isnan(first["action.log_probability"])
    assert last["action.log_probability"] == -0.5
    assert data.cost_names == ("drop", "zone_intrusion")
    assert held_back["cost"].tolist() == [0.0, 1.0]
    assert held_back["predicted_cost"].tolist() == [0.0, 1.0]
    assert held_back["applicable"].tolist() == [False, True]
    assert last["reward"] == 10.0


def test_an_episode_that_is_interrupted_can_be_read(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        EpisodeWriter(tmp_path / "e", EpisodeInfo("e", "find it")),
    ):
        raise KeyboardInterrupt
    assert entry(tmp_path / "e").problem == "the recording was not finished"
    with pytest.raises(BagError, match="expected a new folder"):
        EpisodeWriter(tmp_path / "e", EpisodeInfo("e", "find it"))


@pytest.fixture
def exported(tmp_path: Path) -> tuple[EpisodeDataset, Path]:
    """Two episodes of two sessions, and their LeRobot dataset."""
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_export import export_lerobot

    for number in range(2):
        write(tmp_path / "bags", f"e-{number}", steps=3 + number, session=f"s-{number}")
    data = EpisodeDataset.open(tmp_path / "bags")
    export_lerobot(data, tmp_path / "lerobot", fps=2, robot="sim")
    return data, tmp_path / "lerobot"


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
    bags = import_lerobot(folder, tmp_path / "again")
    assert [bag.name for bag in bags] == ["e-0", "e-1"]
    assert import_lerobot(folder, tmp_path / "again") == [], "what is there is not written again"
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


def test_pictures_of_another_size_are_named_and_nothing_is_left(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_export import export_lerobot

    write(tmp_path / "bags", "e-0")
    write(tmp_path / "bags", "e-1", height=10)
    data = EpisodeDataset.open(tmp_path / "bags")
    expected = (
        "e-1: expected the cameras navigation 8 x 6, manipulation 8 x 6 of the first bag, got "
    )
    with pytest.raises(BagError, match=expected + "navigation 8 x 10"):
        export_lerobot(data, tmp_path / "lerobot", fps=2)
    assert not (tmp_path / "lerobot").exists()


def test_an_import_that_fails_midway_leaves_no_half_episode_and_is_taken_up(
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
    rows[-1]["observation.images.navigation"]["bytes"] = b""
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(BagError, match="expected a picture within the parquet file"):
        import_lerobot(folder, tmp_path / "again")
    assert [bag.name for bag in bags_below(tmp_path / "again")] == ["e-0"]
    path.write_bytes(whole)
    assert [bag.name for bag in import_lerobot(folder, tmp_path / "again")] == ["e-1"]
    assert len(EpisodeDataset.open(tmp_path / "again")) == 7


def test_what_is_no_dataset_of_this_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from safevla_ros.bags.lerobot_import import import_lerobot

    with pytest.raises(BagError, match=r"info\.json: expected a LeRobot dataset"):
        import_lerobot(tmp_path, tmp_path / "bags")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v2.1"}')
    with pytest.raises(BagError, match=r"expected v3\.x, got 'v2\.1'"):
        import_lerobot(tmp_path, tmp_path / "bags")
