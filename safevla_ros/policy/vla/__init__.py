"""The compact VLA: one small policy for all tasks, from two cameras, an instruction and the body.

`configuration`, `text` and `processor` are numpy and run on a robot; `modeling`, `checkpoint` and
`export` need torch and run where it is trained.
"""
