/** A keep-alive HTTP connection as cheap as a client can be: prepared requests out, only status and length read. */
import { connect, type Socket } from 'node:net';

export interface Wire {
  /** Sends a whole request; `onAnswer` is called when its answer is in. One at a time. */
  send(request: Buffer, onAnswer: () => void): void;
  close(): void;
}

const BUFFER_BYTES = 64 * 1024;
const STATUS_AT = 'HTTP/1.1 '.length;
const DIGIT_2 = 0x32;

/** An answer other than 2xx ends the process: a benchmark that measures refusals measures nothing. */
export function openWire(port: number): Promise<Wire> {
  return new Promise((resolve, reject) => {
    let onAnswer: () => void = () => undefined;
    let answerBytes = -1;
    let text = '';

    function read(bytes: number, buffer: Uint8Array): boolean {
      // Answers to the same question have the same length: after the first one there is nothing to parse.
      if (bytes === answerBytes && text === '' && buffer[STATUS_AT] === DIGIT_2) {
        onAnswer();
        return true;
      }
      text += Buffer.from(buffer.buffer, buffer.byteOffset, bytes).toString('latin1');
      const headers = text.indexOf('\r\n\r\n');
      if (headers === -1) {
        return true;
      }
      const length = Number(/^content-length: *(\d+)/im.exec(text.slice(0, headers))?.[1]);
      const isChunked = /^transfer-encoding: *chunked/im.test(text.slice(0, headers));
      if (isChunked ? !text.endsWith('0\r\n\r\n') : text.length < headers + 4 + (length || 0)) {
        return true;
      }
      if (text.charCodeAt(STATUS_AT) !== DIGIT_2) {
        throw new Error(`refused: ${text}`);
      }
      answerBytes = text.length;
      text = '';
      onAnswer();
      return true;
    }

    const socket: Socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: Buffer.allocUnsafe(BUFFER_BYTES), callback: read },
    });
    socket.once('error', reject);
    socket.once('connect', () => {
      resolve({
        send(request, listener) {
          onAnswer = listener;
          socket.write(request);
        },
        close() {
          socket.destroy();
        },
      });
    });
  });
}
