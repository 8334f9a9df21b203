"""Retrieval experiments on Natural Questions, and the figure that compares them with a language model."""
