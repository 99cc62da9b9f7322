/** What a server says on the WebSocket of a subscription: frames, and the codes with which it closes. */
import { ClientError } from '../errors.ts';
import { type ClientEvent, parseEvents } from './event.ts';
import { ConnectionLost, parseRefusal, unreadableAnswer } from './transport.ts';

/** Each type of frame has some of these fields. */
export interface SocketFrame {
  readonly type: string;
  readonly access_id: string;
  readonly cursor: string;
  readonly events: readonly ClientEvent[];
}

/** @throws ConnectionLost when the text is not a frame */
export function parseFrame(text: string): SocketFrame {
  try {
    const frame = JSON.parse(text) as SocketFrame;
    return frame.type === 'events' ? { ...frame, events: parseEvents(text) } : frame;
  } catch {
    throw unreadableAnswer();
  }
}

export interface SocketClose {
  readonly code: number;
  readonly reason: string;
  /** The text of the error frame that came before the close. */
  readonly refusal: string | undefined;
  /** Whether a frame of a feed had come. */
  readonly wasOpen: boolean;
}

/** What a close means: ConnectionLost if the client may reconnect, ClientError if it may not. */
export function closeError({ code, reason, refusal, wasOpen }: SocketClose): Error {
  const text = `the server closed the socket with code ${code}${reason === '' ? '' : `: ${reason}`}`;
  if (code === 1000 && reason === 'close') {
    return new ClientError('ERR_DROPPED', 'an administrator dropped the access_id');
  }
  if (code === 1008 || code >= 4500) {
    return parseRefusal(refusal ?? '', text);
  }
  return new ConnectionLost(text, { wasOpen });
}
