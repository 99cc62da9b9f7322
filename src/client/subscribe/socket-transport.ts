/** A subscription over one WebSocket: several feeds, in-band token refresh, and back-pressure from the loop. */
import { ClientError } from '../errors.ts';
import { type ClientEvent, parseEvents } from './event.ts';
import { fetchPage } from './http-transport.ts';
import {
  ConnectionLost,
  type Frame,
  parseRefusal,
  type Socket,
  type TransportOptions,
  unreadableAnswer,
} from './transport.ts';

/** Characters that wait for the loop: from the first on nothing is read if the socket can wait, from the second it is given up. */
const PAUSE_CHARACTERS = 1024 * 1024;
const MAX_CHARACTERS = 16 * 1024 * 1024;

/** A close that goes with an error comes by then. */
const REFUSAL_MS = 1_000;

/** What a subprotocol's name may be made of (RFC 9110 §5.6.2). */
const PROTOCOL_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

const OPEN = 1;

export async function* socketTransport(options: TransportOptions): AsyncGenerator<Frame, void, void> {
  const { signal, WebSocket } = options;
  if (WebSocket === undefined) {
    throw new ConnectionLost('there is no WebSocket here', false);
  }
  const token = await options.token();
  const queue: string[] = [];
  let characters = 0;
  const flow = { isPaused: false };
  let wasOpen = false;
  const ending: { error: Error | undefined } = { error: undefined };
  const ended = (): Error | undefined => ending.error;
  let refusal: string | undefined;
  let wake: () => void = () => undefined;

  const socket = openSocket(WebSocket, `${options.url.replace(/^http/, 'ws')}/subscribe_to_events`, token);
  const finish = (error: Error): void => {
    ending.error ??= error;
    clearTimeout(silence);
    wake();
  };
  let refusing: ReturnType<typeof setTimeout> | undefined;
  let silence = setTimeout(silent, options.silenceMs);
  function silent(): void {
    socket.close();
    finish(new ConnectionLost('the server fell silent', wasOpen));
  }
  const abort = (): void => {
    socket.close(1000);
    finish(new ConnectionLost('closed', wasOpen));
  };
  signal.addEventListener('abort', abort);

  socket.onopen = () => {
    const [first, ...others] = [...options.starts].map(([accessId, after]) => ({
      access_id: accessId,
      after,
    }));
    socket.send(JSON.stringify(first));
    for (const other of others) {
      socket.send(JSON.stringify({ type: 'subscribe', ...other }));
    }
  };
  socket.onmessage = ({ data }: { readonly data: unknown }) => {
    clearTimeout(silence);
    silence = setTimeout(silent, options.silenceMs);
    const text = String(data);
    queue.push(text);
    characters += text.length;
    if (characters > MAX_CHARACTERS) {
      // What waits is still given; the rest comes from the log when the loop has got so far.
      socket.close(1000);
      finish(new ConnectionLost('the loop is slower than the server', true));
    } else if (characters > PAUSE_CHARACTERS && socket.pause !== undefined && !flow.isPaused) {
      flow.isPaused = true;
      clearTimeout(silence);
      socket.pause();
    }
    wake();
  };
  // What went wrong is told by the close that follows.
  socket.onerror = () => undefined;
  socket.onclose = ({ code, reason }: { readonly code: number; readonly reason: string }) => {
    finish(closeReason(code, reason, wasOpen, refusal));
  };

  try {
    for (;;) {
      const text = queue.shift();
      if (text === undefined) {
        const reason = ended();
        if (reason !== undefined) {
          if (!wasOpen && reason instanceof ConnectionLost && !signal.aborted) {
            await probeRefusal(options);
          }
          throw reason;
        }
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      characters -= text.length;
      if (flow.isPaused && characters < PAUSE_CHARACTERS) {
        flow.isPaused = false;
        silence = setTimeout(silent, options.silenceMs);
        socket.resume?.();
      }
      const frame = parseFrame(text);
      switch (frame.type) {
        case 'subscribed':
          wasOpen = true;
          yield { type: 'start', accessId: frame.access_id, cursor: frame.cursor };
          break;
        case 'events':
          yield { type: 'events', events: frame.events };
          break;
        case 'live':
          yield { type: 'live', accessId: frame.access_id };
          break;
        case 'token_expiring':
          void refresh();
          break;
        case 'error':
          refusal = text;
          // A close says whether to come back. Without one the feed is refused, and the socket would stay silent about it.
          clearTimeout(refusing);
          refusing = setTimeout(
            () => {
              finish(parseRefusal(text, 'the server refused'));
            },
            Math.min(REFUSAL_MS, options.silenceMs / 2),
          );
          break;
        default:
          break;
      }
    }
  } finally {
    clearTimeout(silence);
    clearTimeout(refusing);
    signal.removeEventListener('abort', abort);
    socket.onclose = null;
    socket.close(1000);
  }

  /** A new token on the open socket; without one the server closes it, and another is opened. */
  async function refresh(): Promise<void> {
    try {
      const fresh = await options.token();
      if (fresh !== undefined && socket.readyState === OPEN) {
        socket.send(JSON.stringify({ type: 'token', token: fresh }));
      }
    } catch {
      // No token now: the next connection asks again.
    }
  }
}

/** A browser does not say why a socket was refused; the same question over HTTP does. @throws what it says */
async function probeRefusal(options: TransportOptions): Promise<void> {
  for (const [accessId, after] of options.starts) {
    await fetchPage(options, accessId, after, 0, 1);
  }
}

interface SocketFrame {
  readonly type: string;
  readonly access_id: string;
  readonly cursor: string;
  readonly events: readonly ClientEvent[];
}

function parseFrame(text: string): SocketFrame {
  try {
    const frame = JSON.parse(text) as SocketFrame;
    return frame.type === 'events' ? { ...frame, events: parseEvents(text) } : frame;
  } catch {
    throw unreadableAnswer();
  }
}

function openSocket(
  WebSocket: NonNullable<TransportOptions['WebSocket']>,
  url: string,
  token: string | undefined,
): Socket {
  if (token === undefined) {
    return new WebSocket(url, []);
  }
  if (PROTOCOL_NAME.test(token)) {
    return new WebSocket(url, ['lastseen', `lastseen.bearer.${token}`]);
  }
  // Only where headers can be set; a browser ignores them.
  return new WebSocket(url, ['lastseen'], { headers: { Authorization: `Bearer ${token}` } });
}

function closeReason(code: number, reason: string, wasOpen: boolean, refusal: string | undefined): Error {
  const text = `the server closed with ${code}${reason === '' ? '' : ` ${reason}`}`;
  if (code === 1000 && reason === 'close') {
    return new ClientError('ERR_DROPPED', 'the access_id was dropped');
  }
  if (code === 1008 || code >= 4500) {
    return parseRefusal(refusal ?? '', text);
  }
  return new ConnectionLost(text, wasOpen);
}
