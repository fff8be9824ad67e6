% Streams a run of made-up volumes to braind from MATLAB or Octave. UNTESTED: it needs a ZeroMQ binding with the calls
% zmq.core.* of matlab-zmq (https://github.com/fagg/matlab-zmq); the checksum and the bytes are tested, the sockets not.
%
% It does not reconnect: where no answer comes within 3 s it ends with an error. Call it again with the same session and
% run: the daemon's welcome says from which volume on, and nothing that was acked is sent again.
% scanner_client.c is a client that reconnects by itself.
%
%   scanner_client('tcp://127.0.0.1:5560', 'pilot', 'run-01', 20, 1, [20 24 16], affine)
%
% docs/protocol.md explains every message.
function scanner_client(address, session, run, n_volumes, subject, shape, affine)
  context = zmq.core.ctx_new();
  socket = zmq.core.socket(context, 'ZMQ_DEALER');
  zmq.core.setsockopt(socket, 'ZMQ_LINGER', 0);
  zmq.core.setsockopt(socket, 'ZMQ_RCVTIMEO', 3000);
  zmq.core.connect(socket, address);
  hello = struct('type', 'hello', 'session', session, 'run', run, 'subject', subject, 'kind', 'beta', ...
                 'shape', shape, 'affine', affine, 'tr_s', 4.0, 'dtype', 'int16', 'simulated', true);
  welcome = ask(socket, jsonencode(hello), []);
  for index = welcome.next_index : n_volumes - 1
    voxels = int16(mod(reshape(0 : prod(shape) - 1, fliplr(shape)), 1000));  % Z fastest
    [header, payload] = volume_message(session, run, index, permute(voxels, [3 2 1]), 0.01);
    ask(socket, header, payload);
  end
  ask(socket, jsonencode(struct('type', 'end_run', 'session', session, 'run', run, 'n_volumes', n_volumes)), []);
  zmq.core.close(socket);
  zmq.core.ctx_term(context);
end

% Send a message; return its answer, which must not be a refusal.
function answer = ask(socket, header, payload)
  zmq.core.send(socket, uint8('BRD1'), 'ZMQ_SNDMORE');
  if isempty(payload)
    zmq.core.send(socket, uint8(header));
  else
    zmq.core.send(socket, uint8(header), 'ZMQ_SNDMORE');
    zmq.core.send(socket, payload);
  end
  zmq.core.recv(socket, 4);
  answer = jsondecode(char(zmq.core.recv(socket, 65536)));
  if strcmp(answer.type, 'refused')
    error('braind:refused', '%s: %s', answer.code, answer.sentence);
  end
end
