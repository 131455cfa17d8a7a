"""What the safety nodes are made of: signals in, final commands and reports out, signs of life."""
