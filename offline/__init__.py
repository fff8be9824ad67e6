"""Work on recorded data: this room reads data sets with the client's code and computes with the models' code.

The client and the models do not import each other. A command parses its options and calls one function of this room.
"""
