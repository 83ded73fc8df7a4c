"""What every trainer process begins with: imported once by the fork server, then shared by fork.

Importing torch takes a second and the first optimizer another (it imports `torch._dynamo`). The fork server must
not start a thread team or touch CUDA: a fork after either may hang.
"""

import gc

import torch

import worker.make_file  # noqa: F401 - with worker.run, everything that a process of the worker imports
from worker import export

torch.set_num_threads(1)
_weight = torch.nn.Parameter(torch.zeros(1))
_weight.sum().backward()
torch.optim.AdamW([_weight]).step()
torch.optim.SGD([_weight]).step()
export.modeling_bytes()  # made here once for all trainers
# What is here stays: a collection in a trainer need not walk it (a fifth of a second), nor unshare its pages.
gc.collect()
gc.freeze()
