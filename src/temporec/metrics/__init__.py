"""How good an answer is: ranks, ranking and classification metrics, beyond accuracy, intervals."""
