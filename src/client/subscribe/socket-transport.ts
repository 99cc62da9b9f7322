/** A subscription over one WebSocket: all feeds on one connection, new tokens on the open socket, and back-pressure. */
import { fetchPage } from './event-request.ts';
import { closeError, parseFrame } from './socket-frame.ts';
import { ConnectionLost, type Frame, parseRefusal, type Socket, type TransportOptions } from './transport.ts';

/** Characters that may wait for the loop before the socket pauses, if it can (`ws` can, browsers cannot). */
const PAUSE_CHARACTERS = 1024 * 1024;

/** Characters that may wait for the loop before the socket closes. */
const MAX_CHARACTERS = 16 * 1024 * 1024;

/** The server may send an error and then close: the close comes within this time. */
const REFUSAL_MS = 1_000;

/** A token that is a valid name of a subprotocol (RFC 9110 §5.6.2): browsers send no other way. */
const SUBPROTOCOL = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** `readyState` of an open WebSocket. */
const OPEN = 1;

export async function* socketTransport(options: TransportOptions): AsyncGenerator<Frame, void, void> {
  const { signal, silenceMs, timers, WebSocket } = options;
  if (WebSocket === undefined) {
    throw new ConnectionLost('this environment has no WebSocket', { wasOpen: false });
  }
  const token = await options.token();
  const queue: string[] = [];
  let characters = 0;
  const flow = { isPaused: false };
  let wasOpen = false;
  const ending: { error: Error | undefined } = { error: undefined };
  const endError = (): Error | undefined => ending.error;
  let refusal: string | undefined;
  let wake: () => void = () => undefined;
  let cancelRefusal = (): void => undefined;

  const socket = openSocket(WebSocket, `${options.url.replace(/^http/, 'ws')}/subscribe_to_events`, token);
  const finish = (error: Error): void => {
    ending.error ??= error;
    cancelSilence();
    wake();
  };
  const onSilence = (): void => {
    socket.close();
    finish(new ConnectionLost(`the server sent nothing for ${silenceMs} ms`, { wasOpen }));
  };
  let cancelSilence = timers.after(silenceMs, onSilence);
  const restartSilence = (): void => {
    cancelSilence();
    cancelSilence = timers.after(silenceMs, onSilence);
  };
  const onAbort = (): void => {
    socket.close(1000);
    finish(new ConnectionLost('the subscription was aborted', { wasOpen }));
  };
  signal.addEventListener('abort', onAbort);

  socket.onopen = () => {
    const [first, ...others] = [...options.starts].map(([accessId, { after, trail }]) => ({
      access_id: accessId,
      after,
      ...(trail.length === 0 ? {} : { trail }),
    }));
    socket.send(JSON.stringify(first));
    for (const other of others) {
      socket.send(JSON.stringify({ type: 'subscribe', ...other }));
    }
  };
  socket.onmessage = ({ data }: { readonly data: unknown }) => {
    restartSilence();
    const text = String(data);
    queue.push(text);
    characters += text.length;
    if (characters > MAX_CHARACTERS) {
      // The loop still gets what waits here, and reads the rest from the log when it reconnects.
      socket.close(1000);
      finish(new ConnectionLost('the loop reads more slowly than the server sends', { wasOpen: true }));
    } else if (characters > PAUSE_CHARACTERS && socket.pause !== undefined && !flow.isPaused) {
      flow.isPaused = true;
      cancelSilence();
      socket.pause();
    }
    wake();
  };
  // A close follows each error and says more.
  socket.onerror = () => undefined;
  socket.onclose = ({ code, reason }: { readonly code: number; readonly reason: string }) => {
    finish(closeError({ code, reason, refusal, wasOpen }));
  };

  try {
    for (;;) {
      const text = queue.shift();
      if (text === undefined) {
        const error = endError();
        if (error !== undefined) {
          if (!wasOpen && error instanceof ConnectionLost && !signal.aborted) {
            await probeRefusal(options);
          }
          throw error;
        }
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      characters -= text.length;
      if (flow.isPaused && characters < PAUSE_CHARACTERS) {
        flow.isPaused = false;
        restartSilence();
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
          void refreshToken();
          break;
        case 'error':
          refusal = text;
          // The code of a close says whether to reconnect. Without a close the server refuses one feed and stays silent.
          cancelRefusal();
          cancelRefusal = timers.after(Math.min(REFUSAL_MS, silenceMs / 2), () => {
            finish(parseRefusal(text, 'the server refused the feed'));
          });
          break;
        default:
          break;
      }
    }
  } finally {
    cancelSilence();
    cancelRefusal();
    signal.removeEventListener('abort', onAbort);
    socket.onclose = null;
    socket.close(1000);
  }

  /** Sends a new token on the open socket. Without one the server closes the socket, and the loop reconnects. */
  async function refreshToken(): Promise<void> {
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

/** Browsers hide why a server refused a WebSocket: a page over HTTP gets the reason. @throws the refusal, if any */
async function probeRefusal(options: TransportOptions): Promise<void> {
  for (const [accessId, start] of options.starts) {
    await fetchPage(options, { accessId, ...start, waitSeconds: 0, maxEvents: 1 });
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
  if (SUBPROTOCOL.test(token)) {
    return new WebSocket(url, ['lastseen', `lastseen.bearer.${token}`]);
  }
  // `ws` sends the header; the WebSocket of a browser ignores it.
  return new WebSocket(url, ['lastseen'], { headers: { Authorization: `Bearer ${token}` } });
}
