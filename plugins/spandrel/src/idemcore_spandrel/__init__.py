"""Published restoration networks for idem, through the library spandrel."""
