"""Graders on labelled cases: how often ours are right, and how often the graders that others use are.

A case is a line of `gsm8k.jsonl`, `math.jsonl` or `mixeval.jsonl`: a response, the right answer, whether the response
is right by the rules that the grader documents (`label`), and the reason. The cases are written for this project and
are in none of the data sets. A label says whether the response is right, whatever a grader says of it.
"""
