"""Model families; each task of a family is one folder."""
