"""Accuracy of our graders on labelled cases, beside that of graders that others use.

A case is a line of `gsm8k.jsonl`, `math.jsonl` or `mixeval.jsonl`: a response, the right answer, a `label` (true if
the response is right by the rules that the grader documents), and the reason. The cases were written for this project
and are in none of the data sets. A label does not depend on the verdict of any grader.
"""
