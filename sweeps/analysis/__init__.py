"""What the results say: rows, verdicts, surfaces, controls and costs, without text or figures.

It imports `sweeps.plan` and `storage`; `report`, `service` and `cli` may import it.
"""
