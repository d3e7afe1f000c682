"""The articles' systems as recipes, their figures, and runs that put ours beside them."""
