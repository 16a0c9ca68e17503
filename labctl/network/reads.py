"""Repeated reads: a response as the mean of several passes of one drive."""

import numpy as np

from labctl.contract.layer import ResponseValues


def mean_of_reads(responses: ResponseValues) -> ResponseValues:
    """Return the mean (..., n_outputs) of `responses` (..., reads, n_outputs), not rounded to the camera's counts.

    Sorted before they are added, so that the order in which they were measured does not show in the last bit. A single
    read is returned as it is, in the type the instrument delivers.
    """
    if responses.shape[-2] == 1:
        return responses[..., 0, :]
    total = np.sort(responses, axis=-2).mean(axis=-2, dtype=np.result_type(responses, np.float64))
    return total.astype(np.result_type(responses, np.float32))
