"""An offline run from bags to a policy: where plain cloning breaks the budget, this one keeps it; and
it says so where the bags do not support one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_bags import RISKY, SAFE, write_bags
from typer.testing import CliRunner
from vla_examples import BudgetTerm, batch, model, observation

from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.cli.main import app
from safevla_ros.policy.interface import Instruction
from safevla_ros.policy.load import load_policy
from safevla_ros.policy.vla.checkpoint import load_checkpoint, save_checkpoint
from safevla_ros.robot.profile import load_profile
from safevla_ros.training.episodes import EpisodeStore
from safevla_ros.training.offline.data import IMITABLE, TOKEN, columns_of, read_data
from safevla_ros.training.offline.learners import ADVANTAGE, TokenLearner
from safevla_ros.training.offline.run import EPISODES, fit_offline
from safevla_ros.training.offline.settings import OfflineError, OfflineSettings
from safevla_ros.training.offline.support import NotSupported

BUDGET = 0.5
"""The toy's episodes of two steps cost 1 on average."""


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    return write_bags(tmp_path_factory.mktemp("bags"), 60)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small untrained policy that prefers nothing."""
    folder = tmp_path_factory.mktemp("base")
    even = model()
    torch.nn.init.normal_(even.actor[-1].weight, std=0.01)
    save_checkpoint(folder, even)
    return str(folder)


def quick(base, **changes):
    told = {
        "policy": base,
        "budgets": {"collision": BUDGET},
        "updates": 200,
        "rounds": 1,
        "streams": 8,
        "window": 2,
        "learning_rate": 3e-3,
        "critic_updates": 300,
        "estimate_updates": 60,
        "budget_vectors": 1,
        "steps_ahead": 1,
        "eps": 0.3,
    }
    return OfflineSettings(**(told | changes))


def chance_of_risk(policy, remaining):
    """How likely the policy is to take the risky token in the toy's state, told this budget."""
    learner = TokenLearner(load_checkpoint(policy))
    arrays = EpisodeStore(policy.parent / EPISODES).load("000000")
    inputs = {key: torch.from_numpy(array[None, :1]) for key, array in arrays.items()}
    if learner.terms:
        inputs["budget"] = torch.tensor([[[remaining / learner.terms[0].scale, 1.0]]])
    with torch.no_grad():
        acts, _ = learner.act(
            inputs, learner.start(1), OfflineSettings.model_fields["temperature"].default
        )
    chances = acts[0, 0].numpy()
    return chances[RISKY] / (chances[RISKY] + chances[SAFE])


@pytest.fixture(scope="module")
def weighted(bags, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weighted")
    return folder, fit_offline(quick(base), bags, folder)


def test_weighted_cloning_keeps_the_budget_that_plain_cloning_breaks(
    weighted, bags, base, tmp_path
):
    _, result = weighted
    plain = fit_offline(quick(base, method="all"), bags, tmp_path)
    steps = 2
    # Critics and estimate are fitted too briefly here to meet the budget to the last tenth.
    assert steps * chance_of_risk(plain.policy, BUDGET) > 1.8 * BUDGET
    assert steps * chance_of_risk(result.policy, BUDGET) < 1.3 * BUDGET
    assert result.prices["collision"] > 0.0
    assert plain.prices["collision"] == 0.0


def test_the_policys_own_actions_can_be_weighed_in_the_place_of_the_recorded(bags, base, tmp_path):
    plain = fit_offline(quick(base, method="all"), bags, tmp_path / "plain")
    settings = quick(str(plain.policy), weigh="own", budgets={"collision": 0.7})
    result = fit_offline(settings, bags, tmp_path / "own")
    before, after = (chance_of_risk(policy, 0.7) for policy in (plain.policy, result.policy))
    assert after < 0.85 * before
    with pytest.raises(ValueError, match="expected method 'weights' and a policy that can act"):
        quick("new", weigh="own")


def test_the_policy_is_one_that_a_robot_loads(weighted):
    folder, result = weighted
    policy = load_policy(str(result.policy), load_profile("sim").roles)
    policy.reset(Instruction("find the mug"))
    seen = observation(load_checkpoint(result.policy), np.random.default_rng(0), {"collision": 0.5})
    assert len(policy.act(seen).tokens) == 1
    said = json.loads((folder / "result.json").read_text())
    assert said["prices"]["collision"] > 0.0


@pytest.mark.parametrize("frozen", [True, False])
def test_perception_learns_only_where_it_is_not_frozen(frozen, bags, base, tmp_path):
    settings = quick(base, freeze_perception=frozen, method="all", updates=3)
    result = fit_offline(settings, bags, tmp_path)
    before, after = load_checkpoint(Path(base)), load_checkpoint(result.policy)
    same = [
        torch.equal(old, new)
        for part, learnt in zip(before.perception(), after.perception(), strict=True)
        for old, new in zip(part.parameters(), learnt.parameters(), strict=True)
    ]
    assert all(same) if frozen else not all(same)
    assert not torch.equal(before.actor[-1].weight, after.actor[-1].weight)


def test_the_test_on_untouched_episodes_counts_those_that_carry_it(weighted):
    _, result = weighted
    test = result.test["collision"]
    assert 0 < test.effective_episodes <= test.episodes
    assert (test.verdict == "these bags cannot test it") == (test.effective_episodes < 20)


def test_a_finished_run_is_not_fitted_again(weighted, bags, base):
    folder, result = weighted
    stages = set()
    again = fit_offline(quick(base), bags, folder, lambda line: stages.add(line["stage"]))
    assert not stages & {"round-0", "critics"}
    assert again.prices == result.prices


def test_an_interrupted_run_goes_on(bags, base, tmp_path):
    def stop(line):
        if line["stage"] == "round-0" and line["done"] >= 25:
            raise KeyboardInterrupt

    few = quick(base, updates=75)
    with pytest.raises(KeyboardInterrupt):
        fit_offline(few, bags, tmp_path, stop)
    done = []
    fit_offline(
        few,
        bags,
        tmp_path,
        lambda line: done.append(line["done"]) if line["stage"] == "round-0" else None,
    )
    assert done == [50, 75]


def test_a_run_refuses_other_settings_and_other_bags(weighted, bags, base, tmp_path):
    folder, _ = weighted
    with pytest.raises(OfflineError, match="other settings"):
        fit_offline(quick(base, updates=201), bags, folder)
    with pytest.raises(OfflineError, match="other bags"):
        fit_offline(quick(base), write_bags(tmp_path, 20), folder)


def test_a_budget_far_below_the_data_is_not_supported_and_the_answer_says_what_to_record(
    base, tmp_path
):
    bags = write_bags(tmp_path / "bags", 40, risky=0.95)
    arguments = ["train", "offline", "--bags", str(bags), "--policy", base, "--workers", "1"]
    arguments += ["--budget", "collision=0.1", "--directory", str(tmp_path / "run")]
    answer = CliRunner().invoke(app, arguments)
    assert isinstance(answer.exception, Failure)
    assert answer.exception.code == ExitCode.FAILED
    why = answer.exception.__cause__
    assert isinstance(why, NotSupported)
    assert why.term == "collision"
    text = str(answer.exception)
    assert "do not support collision=0.1" in text
    assert "episodes are within it" in text
    assert "record about" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "collision"], "expected TERM=NUMBER"),
        ([], "at least one cost term"),
        (["--budget", "flying=1"], "the bags know only the costs collision"),
        (["--budget", "collision=1", "--method", "magic"], "method"),
    ],
)
def test_bad_input_is_named(bags, base, tmp_path, arguments, message):
    given = ["train", "offline", "--bags", str(bags), "--policy", base, "--workers", "1"]
    given += ["--directory", str(tmp_path / "run"), *arguments]
    answer = CliRunner().invoke(app, given)
    assert isinstance(answer.exception, Failure)
    assert message in str(answer.exception)


def test_an_advantage_as_a_condition_is_folded_away(bags, base, tmp_path):
    result = fit_offline(quick(base, method="condition"), bags, tmp_path)
    assert [term.name for term in load_checkpoint(result.policy).configuration.budget_terms] == [
        "collision"
    ]
    assert chance_of_risk(result.policy, BUDGET) < 0.48, "the data's is a half"


def test_the_loss_is_that_of_the_policy_as_it_acts():
    learner = TokenLearner(model())
    inputs = batch(learner.model, 2, 3)
    inputs |= {TOKEN: torch.tensor([[0, 3, 5], [1, 1, -1]]), IMITABLE: torch.ones(2, 3).bool()}
    acts, _ = learner.act(inputs, learner.start(2), temperature=0.5)
    losses, _ = learner.losses(inputs, learner.start(2), temperature=0.5)
    chosen = acts.gather(-1, inputs[TOKEN].clamp_min(0).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(losses[0], -chosen[0].log())
    assert losses[1, 2] == 0.0


def test_folding_acts_as_a_good_action_asked_for():
    terms = (BudgetTerm(name="collision", scale=2.0), BudgetTerm(name=ADVANTAGE, scale=1.0))
    told = model(budget_terms=terms)
    torch.nn.init.normal_(told.budget.weight)
    folded = TokenLearner(told).fold_advantage().model
    inputs, state = batch(folded, 2, 3), told.initial_state(2)
    value, known = inputs["budget"].chunk(2, dim=-1)
    one = torch.ones_like(value)
    asked = inputs | {"budget": torch.cat([value, one, known, one], dim=-1)}
    torch.testing.assert_close(folded.act(inputs, state)[0], told.act(asked, state)[0])


def test_episodes_within_the_budget_can_be_cloned_alone(bags, base, tmp_path):
    result = fit_offline(quick(base, method="within_budget"), bags, tmp_path)
    costs = columns_of(EpisodeDataset.open(bags), quick(base))
    within = int((costs.sums(costs.cost) <= BUDGET).sum())
    assert 0 < sum(result.episodes.values()) <= within < 60
    assert 2 * chance_of_risk(result.policy, BUDGET) < BUDGET


def test_chunks_are_learnt_too(bags, tmp_path):
    settings = quick("new-chunks", clone_updates=25, updates=50, learning_rate=3e-3)
    result = fit_offline(settings, bags, tmp_path / "run")
    policy = load_policy(str(result.policy), load_profile("sim").roles)
    policy.reset(Instruction("find the mug"))
    assert result.test["collision"].verdict == "these bags cannot test it"
    tokens = model(budget_terms=())
    seen = observation(tokens, np.random.default_rng(0), {"collision": 0.1})
    assert policy.act(seen).data[0, 0] < 0.0, "the safe action goes back"


def test_what_the_gate_held_back_is_charged_as_it_foresaw(base, tmp_path):
    bags = write_bags(tmp_path, 40, refuse=True)
    dataset = EpisodeDataset.open(bags)
    charged = columns_of(dataset, quick(base))
    free = columns_of(dataset, quick(base, charge_proposals=False))
    held = charged.token == RISKY
    assert charged.cost.sum() == 0.0
    np.testing.assert_array_equal(charged.charged[:, 0], held)
    np.testing.assert_array_equal(free.charged, free.cost)
    np.testing.assert_array_equal(charged.cut, held)
    np.testing.assert_array_equal(charged.imitable, ~held)


def test_parts_share_no_session_and_too_few_are_refused(bags, base, tmp_path):
    data = read_data(EpisodeDataset.open(bags), quick(base))
    shares = np.bincount(data.part) / len(data.part)
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.15)
    few = EpisodeDataset.open(write_bags(tmp_path, 2))
    with pytest.raises(OfflineError, match="too few to split"):
        read_data(few, quick(base))
