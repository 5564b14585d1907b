"""A second implementation of every algorithm, as plain as it can be.

One episode at a time, parameters without an episode axis, `torch.autograd.grad` over functions of
`torch.nn.functional`, normalization spelled out with mean and variance. Nothing here imports
`algorithms` or `networks`. Everything runs in the precision of its arguments: float64 in the tests.
"""
