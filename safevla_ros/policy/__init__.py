"""Policies: the interface, the policies that ship, and the runtimes that execute them."""
