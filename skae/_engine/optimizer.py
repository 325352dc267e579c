"""The optimizer: torch's AdamW, which here does not import torch's compiler."""

import inspect
from operator import is_

import torch

__all__ = ["AdamW"]

BETAS = 0.9, 0.99  # decay rates of the averages in AdamW
ONE = torch.tensor(1.0)


class AdamW(torch.optim.AdamW):
    """torch's AdamW, which does not import torch's compiler at its first use.

    Importing `torch._dynamo` takes seconds, and it would only wrap these methods.

    The learning rate of a step is the `lr` of a group of weights, times the `share` of the
    group if it has one, times `factor`. Learning rate schedulers and callbacks may set
    the `lr`; the engine sets the other two.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    factor = 1.0

    @torch.no_grad()
    def step(self):
        """Update the weights.

        The method of torch checks every tensor, which takes longer than a small update.
        """
        for number, group in enumerate(self.param_groups):
            weights, gradients = group["params"], [w.grad for w in group["params"]]
            if any(gradient is None for gradient in gradients):
                weights = [w for w in weights if w.grad is not None]
                gradients = [w.grad for w in weights]
            if not weights:
                continue
            first, second, steps = self._states(number, weights)
            if steps[0].is_cpu:  # a number would be made a tensor for every weight
                torch._foreach_add_(steps, ONE, alpha=1.0)
            else:
                torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                weights,
                gradients,
                exp_avgs=first,
                exp_avg_sqs=second,
                max_exp_avg_sqs=[],
                state_steps=steps,
                lr=group["lr"] * self.factor * group.get("share", 1.0),
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    step.hooked = True  # keeps torch from wrapping it for the profiler, half a step's time

    def _states(self, number, weights):
        """Return both moments and the numbers of steps of weights of a group, as lists.

        To look up the state of every weight in every step takes as long as a small
        product. The lists are made anew if there are other weights, or another state.
        """
        known = vars(self).setdefault("_known", {})
        whole, one, of, lists = known.get(number, (None,) * 4)
        is_same = whole is self.state and one is self.state.get(weights[0])
        if not (is_same and len(of) == len(weights) and all(map(is_, of, weights))):
            states = [self.state.get(w) or self._first_state(w) for w in weights]
            names = "exp_avg", "exp_avg_sq", "step"
            lists = [[state[name] for state in states] for name in names]
            known[number] = self.state, states[0], list(weights), lists
        return lists

    def _first_state(self, weight):
        """Make and return the state of a weight before its first update."""
        zeros = torch.zeros_like(weight, memory_format=torch.preserve_format)
        self.state[weight] = {
            "step": torch.zeros((), dtype=torch.float32, device=weight.device),
            "exp_avg": zeros,
            "exp_avg_sq": zeros.clone(),
        }
        return self.state[weight]
