/** Encodes WebSocket frames (RFC 6455 §5.2): unmasked, unfragmented and uncompressed. */

const FIN_TEXT = 0x81;
const FIN_BINARY = 0x82;

/**
 * Encodes a text frame. A server frame does not depend on its receiver, so one frame serves any number of
 * sockets.
 */
export function textFrame(text: string): Buffer {
  const bytes = Buffer.byteLength(text);
  const frame = frameOf(FIN_TEXT, bytes);
  frame.write(text, frame.length - bytes);
  return frame;
}

/** Encodes a binary frame. */
export function binaryFrame(data: Uint8Array): Buffer {
  const frame = frameOf(FIN_BINARY, data.length);
  frame.set(data, frame.length - data.length);
  return frame;
}

/** Creates a frame with its header, and with space for `bytes` bytes after it. */
function frameOf(first: number, bytes: number): Buffer {
  const headerBytes = bytes < 126 ? 2 : bytes < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(headerBytes + bytes);
  frame[0] = first;
  if (headerBytes === 2) {
    frame[1] = bytes;
  } else if (headerBytes === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(bytes, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(bytes), 2);
  }
  return frame;
}
