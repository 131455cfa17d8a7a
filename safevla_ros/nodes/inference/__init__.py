"""What the inference node is made of: the thread that runs an episode, and what it is handed."""
