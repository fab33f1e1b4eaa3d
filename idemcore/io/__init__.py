"""Files and images in and out, with limits and errors that a user can act on."""
