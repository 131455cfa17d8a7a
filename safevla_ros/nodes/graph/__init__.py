"""How the graph is described, started, supervised and looked at from outside."""
