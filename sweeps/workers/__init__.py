"""What runs inside a worker process, and what starts one.

It imports `sweeps.plan`, `storage` and `kd`, and knows no report; `service` and `cli` may import it.
"""
