"""History of other tools as versions: ClearML, DVC, git-lfs, W&B, Hugging Face, folders, buckets."""
