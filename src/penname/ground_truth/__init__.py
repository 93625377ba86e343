"""Ground truth: what comes in, the rules that clean it, and the pack that training reads."""
