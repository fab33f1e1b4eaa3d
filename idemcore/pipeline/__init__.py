"""From an image to a bitstream to a certified image."""
