"""Constrained reinforcement learning in simulation: PPO with a multiplier for each constraint.

    ppo.py               unconstrained PPO: the reference policy
    ppo_lagrangian.py    with Lagrange multipliers that hold costs within their budgets
    reward_shaping.py    with a fixed penalty for each cost
    lagrange.py advantages.py losses.py windows.py    what they are made of: no more than arithmetic

They learn in any `World` (world.py): homes.py has ours, box.py the control tasks of Gymnasium. This
package imports neither simulator before it is asked for.
"""
