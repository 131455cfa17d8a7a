"""Constrained learning from bags: Lagrangian advantage-weighted cloning with a budget as input.

    bags -> data -> features, critics -> advantages -> dual -> weights -> fit -> estimate, test

No simulator and no robot is in the loop. `run.fit_offline` is all of it; `dual`, `weights`,
`advantages`, `budgets` and `importance` are pure functions of arrays; `learners` says what a policy
must offer. docs/training.md has the sources of the equations.
"""
