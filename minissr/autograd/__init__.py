"""The engine: tensors that remember how they were made, and the walk back through that memory.

It knows nothing of faces or ages. This file stays empty of imports: `ops` builds on
`autograd.function` and `autograd.tensor` builds on `ops`, one way.
"""
