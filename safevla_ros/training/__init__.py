"""Learning: cloning of scripted experts with DAgger, and what it is made of. Needs torch."""
