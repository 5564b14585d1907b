"""Few-shot translation into English: an episode is a language and few sentence pairs of it."""
