"""What the training bridge is made of; the node itself is training_bridge.py beside this folder."""
