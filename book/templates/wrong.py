"""Typical wrong answers to the exercises of the chapter, with the marks and the message that each must get."""

WRONG = [
[[answers]]
]
