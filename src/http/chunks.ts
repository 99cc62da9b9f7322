/**
 * Collects the chunks of a body. A client decides how small its chunks are, and an object for each byte would cost
 * hundreds of times its size. Small chunks are therefore copied into blocks (G7).
 */

/** The chunks of one body. */
export interface Chunks {
  add(chunk: Buffer): void;
  /** Returns the bytes of all chunks. */
  join(): Buffer;
}

const BLOCK_BYTES = 16 * 1024;

/** Creates an empty collection. */
export function collectChunks(): Chunks {
  const parts: Buffer[] = [];
  /** The last block. Its first `usedBytes` bytes are not in `parts` yet. */
  let block = Buffer.alloc(0);
  let usedBytes = 0;

  function flush(): void {
    if (usedBytes > 0) {
      parts.push(block.subarray(0, usedBytes));
      block = block.subarray(usedBytes);
      usedBytes = 0;
    }
  }

  function copy(chunk: Buffer): void {
    for (let start = 0; start < chunk.length;) {
      if (usedBytes === block.length) {
        flush();
        block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      }
      const copied = chunk.copy(block, usedBytes, start);
      usedBytes += copied;
      start += copied;
    }
  }

  return {
    add(chunk) {
      // Most bodies have one chunk.
      if (chunk.length >= BLOCK_BYTES || (parts.length === 0 && usedBytes === 0)) {
        flush();
        parts.push(chunk);
      } else {
        copy(chunk);
      }
    },
    join() {
      flush();
      const [first] = parts;
      return parts.length === 1 && first !== undefined ? first : Buffer.concat(parts);
    },
  };
}
