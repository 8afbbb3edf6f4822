"""The work that is timed, one family a module, each side's version beside the others.

A function without arguments builds data and model once and returns a Work. The names
begin with the library: `thinc_` runs unchanged on this project and on the peer release,
`torch_`, `compiled_` (torch.compile) and `jax_` do the same with those.
"""
