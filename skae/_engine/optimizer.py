"""The optimizer: torch's AdamW, without the compiler."""

import inspect

import torch

__all__ = ["AdamW"]

BETAS = 0.9, 0.99  # of AdamW


class AdamW(torch.optim.AdamW):
    """torch's AdamW, which does not import the compiler at its first use.

    `torch._dynamo` takes seconds to import, and only wraps these methods.

    The rate of a step is the `lr` of a group of weights times its `share`, if it has one,
    times `factor`. The first is left to whoever sets rates.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    factor = 1.0

    @torch.no_grad()
    def step(self):
        """As torch's, whose own checks of every tensor take longer than small updates."""
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if not weights:
                continue
            states = [self.state.get(w) or self._first_state(w) for w in weights]
            first, second, steps = (
                [state[name] for state in states]
                for name in ("exp_avg", "exp_avg_sq", "step")
            )
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                weights,
                [w.grad for w in weights],
                *(first, second, [], steps),
                lr=group["lr"] * self.factor * group.get("share", 1.0),
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    step.hooked = True  # which torch's profiler would do, at the price of half a step

    def _first_state(self, weight):
        zeros = torch.zeros_like(weight, memory_format=torch.preserve_format)
        self.state[weight] = {
            "step": torch.zeros((), dtype=torch.float32, device=weight.device),
            "exp_avg": zeros,
            "exp_avg_sq": zeros.clone(),
        }
        return self.state[weight]
