"""Other packages' names for what wengert does, so that their users change the import lines alone."""
