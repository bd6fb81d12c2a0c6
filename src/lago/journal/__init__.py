"""The journal of an environment: what happened in it, and when, a JSON object a line.

`writing` appends, `reading` reads, `kinds` says what a line may have, `masks` keeps secrets out, `files` has the names.
The page "The journal" of the manual is the promise.
"""
