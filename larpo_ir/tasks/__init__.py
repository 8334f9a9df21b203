"""Tasks: where prompts come from and how their responses are graded."""
