"""What the results say: one frozen `Findings` value with rows, verdicts, surfaces, controls and costs, without text.

It imports `sweeps.plan` and `storage`; `report`, `service` and `cli` may import it.
"""
