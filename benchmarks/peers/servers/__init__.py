"""The same images served by others, each in its own idiom, each a process of its own."""
