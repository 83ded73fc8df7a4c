"""Named experiments of the literature, each as a declaration at three scales."""
