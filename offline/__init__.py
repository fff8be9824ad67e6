"""What is done with recorded data: the client's reading of data sets meets the models' mathematics here.

Neither knows of the other; every function here is one command's work, without its options.
"""
