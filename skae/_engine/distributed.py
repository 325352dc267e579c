"""Several processes that train one network, each on rows of its own."""

import contextlib
import signal
import threading
import warnings

import numpy as np
import torch
from torch import distributed

from skae._engine.deadline import Deadline
from skae._engine.run import ALONE, Alone
from skae.exceptions import PeerError

__all__ = ["Peers", "processes"]


class SharedDeadline:
    """The time at which training has to end in all processes, as of their last step.

    Parameters
    ----------
    peers : Peers
    """

    def __init__(self, peers):
        self.peers = peers

    @property
    def seconds_left(self):
        return self.peers.deadline.seconds_left

    @property
    def is_over(self):
        return self.peers.is_out_of_time


class Peers(Alone):
    """The processes of a `torch.distributed` group, which all call the same methods.

    Every exchange begins with a round in which each process says whether it has failed. A
    process that fails takes part in one such round, wherever the others are, and these
    raise `PeerError`. So does an exchange with a process that does not exist any more.

    Ctrl-C is answered after an exchange, and not within one, so that the others learn of
    it in the same way. A second Ctrl-C is answered at once.

    Parameters
    ----------
    group : ProcessGroup
        A group of gloo, of all processes.
    """

    are_several = True

    def __init__(self, group):
        self.group, self.number = group, distributed.get_rank(group)
        self.interrupt = None
        self.deadline, self.is_out_of_time = Deadline(), False

    def shared(self, deadline):
        """Return a Deadline that is over at the same step in all processes.

        The first process whose clock says so ends training at its next step.
        """
        self.deadline = deadline
        return SharedDeadline(self)

    def gather(self, value):
        """Return a list of the values of all processes, in the order of their numbers."""
        values = [None] * distributed.get_world_size(self.group)
        with self._exchange():
            distributed.all_gather_object(values, value, group=self.group)
        return values

    def gather_rows(self, array):
        """Return the rows of arrays (n, ...) of all processes, one after another.

        They are received in place, so that this takes little more memory than the result.
        """
        array = np.asarray(array)
        told = self.gather((len(array), array.dtype.str))
        sizes, dtypes = zip(*told, strict=True)
        ends, dtype = np.cumsum((0, *sizes)), np.result_type(*dtypes)
        rows = np.empty((ends[-1], *array.shape[1:]), dtype)
        rows[ends[self.number] : ends[self.number + 1]] = array
        flat = rows.reshape(ends[-1], int(np.prod(array.shape[1:])))
        bits = torch.from_numpy(flat.view(np.uint8))
        with self._exchange():
            for number, size in enumerate(sizes):
                if size:
                    part = bits[ends[number] : ends[number + 1]]
                    distributed.broadcast(part, src=number, group=self.group)
        return rows

    def of_first(self, tensor):
        """Return the tensor of the first process; those of the others have its shape."""
        tensor = tensor.clone()
        with self._exchange():
            distributed.broadcast(tensor, src=0, group=self.group)
        return tensor

    def reduce(self, weights, loss, n_rows):
        """Replace gradients by those of the rows of all processes, in one flat tensor.

        Parameters
        ----------
        weights : list of Tensor
            Weights with the gradient of the mean loss over the rows of this process.
        loss : Tensor of shape ()
        n_rows : int
            Number of these rows. If there are none, gradients and loss are ignored.

        Returns
        -------
        loss : Tensor of shape ()
            Mean loss over the rows of all processes.
        """
        flat = torch.zeros(sum(w.numel() for w in weights) + 3)
        if n_rows:
            parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
            parts = [*(part.flatten() for part in parts), loss.detach().reshape(1)]
            flat[:-2] = torch.cat([part.float() for part in parts]).cpu()
            flat[:-2] *= n_rows
        flat[-2], flat[-1] = n_rows, self.deadline.is_over
        with self._exchange():
            distributed.all_reduce(flat, group=self.group)
        self.is_out_of_time = bool(flat[-1])
        flat = (flat[:-2] / flat[-2]).to(weights[0].device)
        parts = flat[:-1].split([w.numel() for w in weights])
        for weight, part in zip(weights, parts, strict=True):
            gradient = part.reshape(weight.shape)
            if weight.grad is None:
                weight.grad = gradient.clone()
            else:
                weight.grad.copy_(gradient)
        return flat[-1]

    def end(self, failed):
        """Tell the others that this process has come to its end, or that it has failed."""
        with self._exchange(failed, has_ended=True):
            pass

    @contextlib.contextmanager
    def _exchange(self, failed=False, has_ended=False):
        status = torch.tensor([failed, has_ended], dtype=torch.int32)
        try:
            distributed.all_reduce(status, group=self.group)
            n_failed, n_ended = status.tolist()
            if n_failed:
                raise PeerError(
                    "Another process of this fit has failed; its error says why."
                )
            if n_ended not in (0, self.group.size()):
                raise PeerError("The processes of this fit have come apart.")
            yield
        except PeerError:
            raise
        except RuntimeError as error:
            raise PeerError("Another process of this fit has ended.") from error
        if self.interrupt is not None:
            handler, arguments = self.interrupt
            self.interrupt = None
            handler(*arguments)

    @contextlib.contextmanager
    def interrupted_between_exchanges(self):
        """Return a context in which Ctrl-C is answered after the next exchange."""
        handler = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if not (is_main and callable(handler)):
            yield
            return

        def remember(*arguments):
            signal.signal(signal.SIGINT, handler)  # the second is answered at once
            self.interrupt = handler, arguments

        signal.signal(signal.SIGINT, remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def processes(is_distributed, owner):
    """Return a context with the processes of a fit, as `Alone` or `Peers`.

    If one of them leaves it with an error, all do.

    Parameters
    ----------
    is_distributed : bool
    owner : str
        Name of the estimator's class, for messages.
    """
    if not is_distributed:
        yield ALONE
        return
    if not (distributed.is_available() and distributed.is_initialized()):
        raise RuntimeError(
            f"distributed=True of {owner} needs processes that know each other. Start the "
            "program with torchrun, and call "
            "torch.distributed.init_process_group('gloo') before fit."
        )
    distributed.barrier()  # all have come this far
    group = distributed.new_group(backend="gloo")
    peers = Peers(group)
    try:
        with peers.interrupted_between_exchanges(), warnings.catch_warnings():
            if peers.number:  # only the first warns
                warnings.simplefilter("ignore")
            yield peers
            peers.end(failed=False)
            distributed.barrier()  # no connection is closed while another process reads
    except PeerError as error:
        raise PeerError(f"fit of {owner}: {error}") from error.__cause__
    except BaseException:
        with contextlib.suppress(PeerError):
            peers.end(failed=True)
        raise
    finally:
        distributed.destroy_process_group(group)
