"""The commands of `adn`, one module for each purpose; none of them imports torch before it is needed."""
