"""Networks: the blocks, the reader of model files, and what is done to a network once it is built."""
