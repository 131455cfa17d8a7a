"""The option `--budget TERM=NUMBER`, which several verbs have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from safevla_ros.cli.failure import ExitCode, Failure


def read_budgets(given: Sequence[str], terms: Collection[str] | None = None) -> dict[str, float]:
    """Cost allowed per episode by term, of texts TERM=NUMBER. `terms`: those that there are; None:
    not known yet. Raises Failure."""
    found: dict[str, float] = {}
    for text in given:
        term, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not term or not value >= 0.0 or (terms is not None and term not in terms):
            known = "" if terms is None else f", with one of {', '.join(terms)}"
            raise Failure(
                ExitCode.BAD_INPUT, f"--budget {text}: expected TERM=NUMBER, 0 or more{known}"
            )
        found[term] = value
    return found
