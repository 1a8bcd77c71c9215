"""The main job: a feed-forward layer of a real transformer as FP8 experts, on real text."""
