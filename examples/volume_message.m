% The header and payload of a volume: voxels is (X, Y, Z), int16; scale turns its numbers into % signal change.
function [header, payload] = volume_message(session, run, index, voxels, scale)
  ordered = permute(voxels, [3 2 1]);                 % the protocol has the last axis fastest, MATLAB the first
  payload = typecast(ordered(:)', 'uint8');           % little-endian on every machine that MATLAB runs on
  header = sprintf(['{"type":"volume","session":"%s","run":"%s","index":%d,"shape":[%d,%d,%d],' ...
                    '"dtype":"int16","crc32":%.0f,"scale":%.10g}'], ...
                   session, run, index, size(voxels, 1), size(voxels, 2), size(voxels, 3), crc32(payload), scale);
end

% CRC-32 as zlib, PNG and Ethernet have it.
function crc = crc32(bytes)
  table = zeros(1, 256, 'uint32');
  for n = 0 : 255
    entry = uint32(n);
    for bit = 1 : 8
      if bitand(entry, 1)
        entry = bitxor(bitshift(entry, -1), uint32(3988292384));
      else
        entry = bitshift(entry, -1);
      end
    end
    table(n + 1) = entry;
  end
  crc = uint32(4294967295);
  for byte = bytes
    crc = bitxor(bitshift(crc, -8), table(double(bitand(bitxor(crc, uint32(byte)), uint32(255))) + 1));
  end
  crc = double(bitxor(crc, uint32(4294967295)));
end
