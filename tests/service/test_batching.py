import numpy as np

from dyntransnet.service.batching import predict_together


def windows(count: int, value: float) -> np.ndarray:
    return np.full((count, 1, 2, 3, 4), value, np.float32)


def test_callers_share_one_call_and_get_their_own_logits():
    calls: list[int] = []

    def network(batch: np.ndarray) -> np.ndarray:
        calls.append(len(batch))
        return np.concatenate([batch, -batch], axis=1)

    parts = [windows(2, 1.0), windows(1, 5.0), windows(4, 7.0)]
    answers = predict_together(parts, network)
    assert calls == [7]
    for part, logits in zip(parts, answers, strict=True):
        np.testing.assert_array_equal(logits, np.concatenate([part, -part], axis=1))


def test_a_single_caller_is_not_copied():
    part = windows(3, 1.0)
    (same,) = predict_together([part], lambda batch: batch)
    assert same is part
