"""The inference node as a process, with the simulated robot and the camera ingest around it."""

from __future__ import annotations

import signal
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from simulated import Diagnostics, OnOneGraph, SimulatedGraph, simulated_graph

from safevla_ros.msg import (
    ActionChunk,
    CostSpecification,
    CostTermSpecification,
    CostVector,
    Episode,
    Observation,
    SafetyStatus,
    TermCost,
)
from safevla_ros.nodes import topics
from safevla_ros.policy.baselines import RandomPolicy
from safevla_ros.robot.action_codec import ACTIONS, TOKENS, EndOfEpisode, decode
from safevla_ros.robot.messages import joints_from, stamp_ns
from safevla_ros.robot.profile import load_profile

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "policy"))

import tiny_policy

PROFILE = load_profile("sim")


@pytest.fixture
def simulated(graph, tmp_path):
    return SimulatedGraph(graph, tmp_path)


def states(simulated, episode_id):
    """The states that an episode went through."""
    return [message.state for message in simulated.episodes.messages if message.id == episode_id]


def stands(candidate):
    """Whether a candidate moves nothing."""
    twist = candidate.twist
    return not (twist.linear.x or twist.angular.z or candidate.joint_names)


def random_tokens(seed):
    """What the random policy will do until it says `end`."""
    policy, tokens = RandomPolicy(seed), []
    while not tokens or tokens[-1] != TOKENS["end"]:
        tokens += policy.act(None).tokens
    return tokens


SEED = next(seed for seed in range(100) if 8 <= len(random_tokens(seed)) <= 10)


@pytest.mark.smoke
def test_one_episode_of_the_random_policy_from_goal_to_verdict(simulated):
    graph = simulated.graph
    observations = graph.collect(Observation, topics.OBSERVATION)
    simulated.bring_up("random", seed=SEED)
    goal = simulated.send("find the mug", task="find")
    assert goal.accepted
    status, result = goal.result()
    expected = random_tokens(SEED)
    assert status == GoalStatus.STATUS_SUCCEEDED  # it ran to its end, whatever the outcome
    assert result.outcome in (Episode.FAILURE, Episode.SUCCESS)
    assert result.steps == len(expected) - 1  # `end` is no step
    assert result.reason

    ended = simulated.episodes.wait(lambda m: m.id and m.state == Episode.ENDED, what="the end")
    assert states(simulated, result.episode_id) == [
        Episode.RUNNING,
        Episode.ENDING,
        Episode.ENDED,
    ]
    assert (ended.id, ended.outcome, ended.steps) == (
        result.episode_id,
        result.outcome,
        result.steps,
    )
    assert ended.end_declared
    assert (ended.policy_id, ended.instruction, ended.task) == ("random", "find the mug", "find")

    chunks, candidates = simulated.chunks.messages, simulated.candidates.messages
    assert [token for chunk in chunks for token in chunk.tokens] == expected
    assert [chunk.chunk_id for chunk in chunks] == list(range(len(chunks)))
    assert [m.step for m in candidates] == list(range(result.steps))
    assert {m.source for m in candidates} == {"policy"}
    by_stamp = {stamp_ns(m.header.stamp): m for m in observations.messages}
    for chunk, candidate in zip(chunks, candidates, strict=False):
        # What is sent is what the token means from where the robot was seen to be.
        seen = by_stamp[stamp_ns(chunk.header.stamp)]
        command = decode(chunk.tokens[0], joints_from(seen.joint_states), PROFILE)
        assert candidate.twist.linear.x == command.velocity.x
        assert candidate.twist.angular.z == command.velocity.yaw
        assert dict(zip(candidate.joint_names, candidate.joint_positions, strict=True)) == dict(
            command.joints
        )
        assert np.exp(chunk.log_probabilities[0]) == pytest.approx(1 / len(ACTIONS))
        assert stamp_ns(candidate.header.stamp) >= stamp_ns(chunk.header.stamp)
        trace = candidate.trace
        times = [trace.camera, trace.observation, trace.inference_start, trace.inference_end]
        times = [stamp_ns(time) for time in (*times, trace.candidate)]
        assert times == sorted(times)
        assert times[0] > 0
    for before, after in pairwise(candidates):
        apart_s = (stamp_ns(after.header.stamp) - stamp_ns(before.header.stamp)) * 1e-9
        assert apart_s >= PROFILE.step_s
    for candidate, chunk in zip(candidates, chunks[1:], strict=False):
        # Each step was chosen from a frame taken after the one before had run.
        apart_s = (stamp_ns(chunk.header.stamp) - stamp_ns(candidate.header.stamp)) * 1e-9
        assert apart_s >= PROFILE.step_s - 1e-6
    assert isinstance(decode(chunks[-1].tokens[0], {}, PROFILE), EndOfEpisode)
    assert [item.step for item in goal.feedback] == list(range(len(goal.feedback)))
    assert {item.episode_id for item in goal.feedback} == {result.episode_id}


class TestScripted(OnOneGraph):
    """One graph, with the careful expert, for both."""

    @pytest.fixture(scope="class")
    def started(self, domain, tmp_path_factory):
        with simulated_graph(tmp_path_factory.mktemp("scripted")) as made:
            made.bring_up("scripted-careful", real_time_factor=3.0)
            yield made

    def test_the_scripted_expert_is_given_the_truth_and_succeeds(self, simulated):
        goal = simulated.send(**simulated.scenario_goal())
        status, result = goal.result(deadline_s=90.0)
        assert (status, result.outcome) == (GoalStatus.STATUS_SUCCEEDED, Episode.SUCCESS), (
            result.reason
        )
        ended = simulated.episodes.wait(lambda m: m.id and m.state == Episode.ENDED, what="the end")
        assert ended.policy_id == "scripted-careful"
        assert ended.outcome_reason == result.reason
        assert all(item.phase for item in goal.feedback)

    def test_a_target_that_is_not_there_ends_the_episode_with_the_reason(self, simulated):
        status, result = simulated.send("find the unicorn", target_ids=["unicorn-1"]).result()
        assert (status, result.outcome) == (GoalStatus.STATUS_ABORTED, Episode.ABORTED)
        assert "unicorn-1" in result.reason
        # A latched topic keeps the last state only: RUNNING, a moment before, may not get through.
        assert states(simulated, result.episode_id)[-1] == Episode.ENDED


def test_one_goal_at_a_time_and_a_cancelled_one_stands_at_once(simulated):
    diagnostics = Diagnostics(simulated.graph, "vla_inference")
    simulated.bring_up("random", seed=SEED)
    first = simulated.send()
    assert first.accepted
    sent = simulated.candidates.wait(what="a first step")
    assert not simulated.send("find the bowl").accepted
    assert not simulated.send("  ").accepted
    assert f"goal refused: episode {sent.episode_id} is running" in simulated.inference.output()
    diagnostics.wait(
        lambda m, v: sent.episode_id in v.get("last_refused_goal", ""), "the reason for a refusal"
    )
    first.cancel()
    status, result = first.result()
    assert (status, result.outcome) == (GoalStatus.STATUS_CANCELED, Episode.ABORTED)
    assert result.reason == "cancelled"
    simulated.episodes.wait(lambda m: m.id and m.state == Episode.ENDED, what="the end")
    candidates = simulated.candidates
    simulated.graph.wait_for(lambda: stands(candidates.messages[-1]), "a stand at last")
    assert candidates.messages[-1].step == result.steps - 1  # part of the step that it cuts short

    second = simulated.send()
    assert second.accepted
    simulated.candidates.wait(lambda m: m.episode_id != sent.episode_id, what="a new episode")
    second.cancel()
    assert second.result()[1].episode_id != result.episode_id


def test_a_second_goal_pre_empts_where_that_is_wanted(simulated):
    simulated.bring_up("do-nothing", second_goal="preempt")
    first = simulated.send()
    sent = simulated.candidates.wait(what="a first step")
    second = simulated.send("find the bowl", max_steps=2)
    assert second.accepted
    status, result = first.result()
    assert (status, result.outcome) == (GoalStatus.STATUS_ABORTED, Episode.ABORTED)
    assert result.reason == "pre-empted by another goal"
    status, result = second.result()
    assert (status, result.steps) == (GoalStatus.STATUS_SUCCEEDED, 2)
    assert result.episode_id != sent.episode_id
    order = [message.episode_id for message in simulated.candidates.messages]
    assert order == sorted(order, key=[sent.episode_id, result.episode_id].index)


def test_a_killed_inference_node_leaves_an_episode_that_its_successor_ends(simulated):
    simulated.bring_up("do-nothing")
    goal = simulated.send()
    assert goal.accepted
    simulated.episodes.wait(lambda m: m.state == Episode.RUNNING, what="an episode")
    simulated.inference.send(signal.SIGKILL)
    simulated.inference.wait_exit()
    since = simulated.episodes.mark()
    simulated.start_inference("do-nothing")
    idle = simulated.episodes.wait(what="the successor's word", since=since)
    assert (idle.state, idle.id) == (Episode.ENDED, "")


class TestDoingNothing(OnOneGraph):
    """One graph, with a policy that does nothing, for all of these, in this order: the last one ends
    the node."""

    @pytest.fixture(scope="class")
    def started(self, domain, tmp_path_factory):
        with simulated_graph(tmp_path_factory.mktemp("idle")) as made:
            # Before the node comes, which must hear of it all the same.
            terms = [
                CostTermSpecification(name="collision", budget=5.0),
                CostTermSpecification(name="drop", budget=float("nan")),
            ]
            made.graph.node.create_publisher(
                CostSpecification, topics.COST_SPECIFICATION, topics.latched()
            ).publish(CostSpecification(terms=terms))
            made.bring_up("do-nothing", seed=SEED)
            yield made

    def test_the_goals_limit_of_steps_ends_an_episode_when_the_last_one_has_run(self, simulated):
        status, result = simulated.send(max_steps=3).result()
        assert (status, result.outcome) == (GoalStatus.STATUS_SUCCEEDED, Episode.FAILURE)
        assert result.steps == 3
        assert result.duration_s >= 3 * PROFILE.step_s
        assert_judged_without_end(simulated, result)

    def test_the_goals_limit_of_time_ends_an_episode(self, simulated):
        status, result = simulated.send(time_limit_s=1.7).result()
        assert (status, result.outcome) == (GoalStatus.STATUS_SUCCEEDED, Episode.FAILURE)
        assert result.duration_s >= 1.7
        assert_judged_without_end(simulated, result)
        running, ending = (
            stamp_ns(next(m for m in simulated.episodes.messages if m.state == state).header.stamp)
            for state in (Episode.RUNNING, Episode.ENDING)
        )
        assert 1.7 <= (ending - running) * 1e-9 < 2.2
        assert all(stamp_ns(m.header.stamp) <= ending for m in simulated.candidates.messages)

    def test_a_latched_stop_ends_the_episode_and_refuses_goals_until_it_is_released(
        self, simulated
    ):
        node = simulated.graph.node
        status = node.create_publisher(SafetyStatus, topics.SAFETY_STATUS, topics.latched())
        simulated.graph.wait_matched(status)
        goal = simulated.send()
        simulated.candidates.wait(what="a first step")
        status.publish(SafetyStatus(latched=True, detail="the e-stop is pressed"))
        _, result = goal.result()
        assert result.outcome == Episode.ABORTED
        assert result.reason == "a stop is latched: the e-stop is pressed"
        assert not simulated.send().accepted
        assert "call reset_stop first" in simulated.inference.output()
        status.publish(SafetyStatus(latched=False))
        simulated.graph.wait_for(
            lambda: simulated.send(max_steps=1).accepted, "a goal after the reset"
        )

    def test_a_shadow_is_compared_and_never_carried_out(self, simulated):
        diagnostics = Diagnostics(simulated.graph, "vla_inference")
        assert not simulated.roll_back().success
        refused = simulated.shadow("scripted-careful")
        assert not refused.success
        assert "not given to a shadow" in refused.message
        assert simulated.shadow("random").success
        _, result = simulated.send(max_steps=6).result()
        assert result.steps == 6
        _, _, values = diagnostics.wait(
            lambda m, v: v.get("shadow.compared", "0") == "6", "six comparisons"
        )
        assert values["shadow"] == "random"
        tokens = random_tokens(SEED)[:6]
        same = tokens.count(TOKENS["sub_goal_done"])
        assert float(values["shadow.agreement"]) == pytest.approx(same / 6, abs=1e-3)
        assert {m.policy_id for m in simulated.chunks.messages} == {"do-nothing"}
        assert not any(m.twist.linear.x or m.joint_names for m in simulated.candidates.messages)
        assert "random so far: shadow.compared 6" in simulated.inference.output()
        assert simulated.shadow("").success

    def test_another_policy_is_loaded_for_the_next_episode_and_a_bad_one_changes_nothing(
        self, simulated
    ):
        goal = simulated.send(max_steps=8)
        simulated.candidates.wait(what="a first step")
        refused = simulated.load("no-such-policy")
        assert not refused.success
        assert "expected one of" in refused.message
        loaded = simulated.load("random")
        assert (loaded.success, loaded.policy_id) == (True, "random")
        _, result = goal.result()
        assert result.steps == 8
        assert {m.policy_id for m in simulated.chunks.messages} == {"do-nothing"}
        _, result = simulated.send(max_steps=1).result()
        running = simulated.episodes.wait(lambda m: m.id == result.episode_id, what="an episode")
        assert running.policy_id == "random"

        back = simulated.roll_back()
        assert (back.success, "do-nothing" in back.message) == (True, True)
        _, result = simulated.send(max_steps=1).result()
        running = simulated.episodes.wait(lambda m: m.id == result.episode_id, what="an episode")
        assert running.policy_id == "do-nothing"

    def test_the_policy_is_told_what_is_left_of_the_budgets(self, simulated):
        node = simulated.graph.node
        costs = node.create_publisher(CostVector, topics.COST_VECTOR, topics.reliable())
        simulated.graph.wait_matched(costs)
        goal = simulated.send()
        budgets = simulated.chunks.wait(
            lambda m: list(m.budget_terms) == ["collision"], what="a chunk with budgets"
        )
        assert list(budgets.budget_remaining) == [5.0]
        left = [TermCost(name="collision", remaining=3.0), TermCost(name="drop", remaining=np.nan)]
        costs.publish(
            CostVector(episode_id="another", terms=[TermCost(name="drop", remaining=1.0)])
        )
        costs.publish(CostVector(episode_id=budgets.episode_id, terms=left))
        told = simulated.chunks.wait(
            lambda m: list(m.budget_remaining) != [5.0], what="a chunk after a cost"
        )
        assert (list(told.budget_terms), list(told.budget_remaining)) == (["collision"], [3.0])
        goal.cancel()

    def test_latency_is_reported_and_the_episode_ends_before_its_node(self, simulated):
        diagnostics = Diagnostics(simulated.graph, "vla_inference")
        simulated.send()
        _, _, values = diagnostics.wait(
            lambda m, v: "camera_to_candidate_ms.p50" in v, "latency on /diagnostics"
        )
        p50, p95, p99 = (float(values[f"camera_to_candidate_ms.p{p}"]) for p in (50, 95, 99))
        assert 0.0 < p50 <= p95 <= p99 < 10_000.0
        assert float(values["inference_ms.p50"]) < p50
        # In simulated time, which stands still between two ticks of its clock.
        assert 0.0 <= float(values["observation_age_ms.p50"]) < 1000.0
        assert (values["queue_depth"], values["dropped_chunks"]) == ("0", "0")
        simulated.candidates.wait(what="a first step")
        simulated.inference.send(signal.SIGINT)
        assert simulated.inference.wait_exit() == 0
        ended = simulated.episodes.wait(lambda m: m.id and m.state == Episode.ENDED, what="the end")
        assert (ended.outcome, ended.outcome_reason) == (
            Episode.ABORTED,
            "the inference node stops",
        )
        assert "Traceback" not in simulated.inference.output()


def assert_judged_without_end(simulated, result):
    """The judge was asked, and told that the policy had not declared the end."""
    assert states(simulated, result.episode_id) == [Episode.RUNNING, Episode.ENDING, Episode.ENDED]
    ending = simulated.episodes.wait(lambda m: m.state == Episode.ENDING, what="the wait")
    assert not ending.end_declared
    assert "limit" in result.reason


def test_silent_cameras_end_the_episode_and_a_returning_ingest_serves_the_next(simulated):
    simulated.bring_up("do-nothing", observation_timeout_s=1.0)
    goal = simulated.send()
    simulated.candidates.wait(what="a first step")
    simulated.ingest.end()
    status, result = goal.result()
    assert (status, result.outcome) == (GoalStatus.STATUS_ABORTED, Episode.ABORTED)
    assert result.reason.startswith("no observation for 1.")
    assert "camera_ingest" in result.reason

    observations = simulated.graph.collect(Observation, topics.OBSERVATION)
    simulated.start_ingest()
    observations.wait(what="an observation of the new ingest")
    assert simulated.send(max_steps=2).result()[1].steps == 2


def test_without_a_clock_an_episode_ends_and_does_not_begin_at_time_zero(simulated):
    simulated.start_inference("do-nothing", observation_timeout_s=1.0)
    status, result = simulated.send().result()
    assert (status, result.outcome) == (GoalStatus.STATUS_ABORTED, Episode.ABORTED)
    assert result.reason == "no time on /clock for 1 s"


def test_an_episode_begins_when_the_clock_does(simulated):
    simulated.start_inference("do-nothing", observation_timeout_s=60.0)
    goal = simulated.send(max_steps=2)  # before there is any time
    simulated.start_robot(real_time_factor=2.0)
    simulated.start_ingest()
    _, result = goal.result()
    assert result.steps == 2
    running = simulated.episodes.wait(lambda m: m.state == Episode.RUNNING, what="the start")
    assert stamp_ns(running.started) > 0


def test_an_ingest_that_restarts_in_time_is_waited_for(simulated):
    simulated.bring_up("do-nothing", observation_timeout_s=60.0)
    goal = simulated.send(max_steps=12)
    simulated.candidates.wait(what="a first step")
    simulated.ingest.send(signal.SIGKILL)
    simulated.ingest.wait_exit()
    # Under another name: the services of one that was killed look alive for a while.
    simulated.start_ingest(name="camera_ingest_again")
    status, result = goal.result()
    assert (status, result.steps) == (GoalStatus.STATUS_SUCCEEDED, 12)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [("frozen", "frozen camera: navigation"), ("late", "late frames of camera: navigation")],
)
def test_frozen_or_late_cameras_are_as_good_as_none(simulated, flag, reason):
    observations = simulated.graph.node.create_publisher(
        Observation, topics.OBSERVATION, topics.reliable()
    )
    simulated.start_robot()
    simulated.start_inference("do-nothing", observation_timeout_s=2.0)
    simulated.graph.wait_matched(observations)
    goal = simulated.send()
    simulated.episodes.wait(what="the start")
    observations.publish(Observation(camera_names=["navigation"], **{flag: [True]}))
    _, result = goal.result()
    assert result.outcome == Episode.ABORTED
    assert result.reason.endswith(reason)
    assert not simulated.candidates.messages


def test_a_learned_policy_runs_from_its_file(simulated, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    tiny_policy.write(folder, data=tiny_policy.graph(size=32), image_height=32, image_width=32)
    simulated.start_robot(real_time_factor=2.0)
    simulated.start_ingest(image_height=32, image_width=32)
    simulated.start_inference(folder)
    _, result = simulated.send(max_steps=4).result()
    assert result.steps == 4
    chunks = simulated.chunks.messages
    assert [len(chunk.tokens) for chunk in chunks] == [2, 2]  # two steps from each frame
    assert [chunk.first_step for chunk in chunks] == [0, 2]
    assert {chunk.representation for chunk in chunks} == {ActionChunk.TOKEN}
    assert len(chunks[0].data) == 2 * len(chunks[0].names)
    assert len(chunks[0].log_probabilities) == 2
    ended = simulated.episodes.wait(lambda m: m.id and m.state == Episode.ENDED, what="the end")
    assert (ended.policy_id, len(ended.policy_sha256)) == ("tiny", 64)


def test_continuous_chunks_are_stitched_without_a_pause(simulated, tmp_path):
    folder = tmp_path / "chunks"
    folder.mkdir()
    tiny_policy.write_chunk(folder, size=32)
    simulated.start_robot(real_time_factor=1.0)
    simulated.start_ingest(image_height=32, image_width=32)
    simulated.start_inference(folder)
    diagnostics = Diagnostics(simulated.graph, "vla_inference")
    _, result = simulated.send(max_steps=30).result()
    assert result.steps == 30, result.reason
    diagnostics.wait(lambda m, v: int(v.get("queue_depth", 0)) > 0, "the depth of the queue")

    chunks = {chunk.chunk_id: chunk for chunk in simulated.chunks.messages}
    steps = simulated.candidates.messages[:30]
    assert len(chunks) >= 3  # of 12 steps each, of which none runs to its end
    assert {chunk.representation for chunk in chunks.values()} == {ActionChunk.CONTINUOUS}
    assert [step.step for step in steps] == list(range(30))
    step_s, off_s = PROFILE.step_s, []
    for step in steps:
        chunk = chunks[step.chunk_id]
        row = round(step.twist.linear.x / 0.01)
        # What is sent is the row that the chunk, as published, has for this step ...
        columns = len(chunk.names)
        assert chunk.data[(step.step - chunk.first_step) * columns] == pytest.approx(0.01 * row)
        # ... and the one that was meant for the time at which it is sent.
        since_s = (stamp_ns(step.header.stamp) - stamp_ns(chunk.header.stamp)) * 1e-9
        off_s.append(abs(since_s - row * step_s))
    assert np.median(off_s) <= 0.5 * step_s
    apart_s = np.diff([stamp_ns(step.header.stamp) * 1e-9 for step in steps])
    assert np.median(apart_s) == pytest.approx(step_s, rel=0.1)


@pytest.mark.parametrize("representation", ["token", "continuous"])
def test_a_truncated_chunk_is_planned_anew_and_its_refused_steps_are_not_sent(
    simulated, tmp_path, representation
):
    write = {"token": tiny_policy.write, "continuous": tiny_policy.write_chunk}[representation]
    policy = write(tmp_path)
    statuses = simulated.graph.node.create_publisher(
        SafetyStatus, topics.SAFETY_STATUS, topics.latched()
    )
    simulated.start_robot(real_time_factor=1.0)
    simulated.start_ingest(image_height=tiny_policy.SIZE, image_width=tiny_policy.SIZE)
    simulated.start_inference(policy)
    simulated.graph.wait_matched(statuses)
    goal = simulated.send(max_steps=6)
    first = simulated.chunks.wait(what="a chunk")
    simulated.candidates.wait(lambda m: m.step == 0, what="its first step")
    statuses.publish(
        SafetyStatus(
            episode_id=first.episode_id,
            truncated="from step 1 on, collision: a wall",
            truncated_chunk_id=first.chunk_id,
            truncated_from_step=1,
        )
    )
    _, result = goal.result()
    assert result.steps == 6, result.reason
    candidates = {message.step: message for message in simulated.candidates.messages}
    assert candidates[1].chunk_id == first.chunk_id + 1
    assert sorted(candidates) == list(range(6))


def test_chunks_that_come_too_late_are_dropped_and_end_the_episode_with_the_reason(
    simulated, tmp_path
):
    simulated.start_robot(real_time_factor=10.0)
    simulated.start_ingest(image_height=tiny_policy.SIZE, image_width=tiny_policy.SIZE)
    policy = tiny_policy.write(tmp_path, tiny_policy.slow_graph())
    simulated.start_inference(policy, chunk_age_max_s=0.02, observation_timeout_s=2.0)
    _, result = simulated.send().result()
    assert (result.outcome, result.steps) == (Episode.ABORTED, 0)
    assert result.reason.startswith("no chunk in time for ")


def test_a_policy_for_another_step_than_the_robots_is_refused(graph, tmp_path):
    folder = tiny_policy.write_chunk(tmp_path, step_s=0.1)
    node = graph.start("vla_inference", robot="sim", policy=folder)
    assert not node.change("configure")
    assert "its steps take 0.1 s, those of robot 'sim' 0.5 s" in node.output()


def test_images_of_another_size_than_the_policys_end_the_episode(simulated, tmp_path):
    simulated.start_robot(real_time_factor=2.0)
    simulated.start_ingest(image_height=32, image_width=32)
    simulated.start_inference(tiny_policy.write(tmp_path), observation_timeout_s=1.0)
    _, result = simulated.send().result()
    assert result.outcome == Episode.ABORTED
    assert "policy 'tiny' takes images of 8x8" in result.reason
    assert "(32, 32)" in result.reason


def test_a_policy_file_that_was_cut_short_keeps_the_node_unconfigured(simulated, tmp_path):
    folder = tiny_policy.write(tmp_path)
    data = (tmp_path / "policy.onnx").read_bytes()
    (tmp_path / "policy.onnx").write_bytes(data[: len(data) // 2])
    node = simulated.graph.start("vla_inference", robot="sim", policy=folder)
    assert not node.change("configure")
    assert "cannot configure: " in node.output()
    assert "the file is cut short or another one" in node.output()
    assert "Traceback" not in node.output()


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"policy": "no-such-policy"}, "policy 'no-such-policy': expected one of"),
        ({"policy": "scripted-reckless"}, "expected one of scripted-careful, scripted-hurried"),
        ({"policy": "scripted-careful", "robot": "generic"}, "'generic' is not simulated"),
        ({"policy": "", "scenario": "no-such-scenario"}, "scenario 'no-such-scenario'"),
        ({"policy": "random", "runtime": "tflite"}, "runtime: expected one of onnx, torch"),
        ({"policy": "random", "second_goal": "wait"}, "second_goal: expected one of refuse,"),
    ],
)
def test_a_policy_that_cannot_be_had_is_refused_with_one_sentence(graph, parameters, sentence):
    node = graph.start("vla_inference", **({"robot": "sim"} | parameters))
    assert not node.change("configure")
    assert sentence in node.output()
    assert "Traceback" not in node.output()
