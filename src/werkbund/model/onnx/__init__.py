"""A model as one ONNX graph: the input side, the network or the trees behind it, and the file that they make."""
