"""Read datasets of a user's own: .npz files, folders of images, and functions that return arrays.

It imports `kd.code` and, of `kd.data`, what reads and keeps arrays; `kd.data.sources` and `kd.data.datasets` import it.
"""
