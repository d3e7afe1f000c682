"""The articles' systems as recipes, their published figures, and runs to compare with them."""
