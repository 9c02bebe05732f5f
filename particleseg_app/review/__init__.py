"""Review room: doubtful particles first, mends that are never lost, patches for training."""
