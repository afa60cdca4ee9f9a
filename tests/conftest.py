"""What all tests share."""

import os

# Two cores: more threads than that only wait for each other. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# No test may need a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
