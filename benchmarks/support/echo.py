"""A bare pyzmq server: a ROUTER that answers each message with its first two frames.

The two frames are as long as an ack. A volume therefore crosses the loopback once, as it does to the daemon.
"""

import zmq

with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
    router.linger = 0
    port = router.bind_to_random_port("tcp://127.0.0.1")
    print(port, flush=True)
    while True:
        sender, magic, header, *_ = router.recv_multipart()
        router.send_multipart([sender, magic, header])
