/**
 * What an application implements to talk with Fedecks devices: public, exported by the package. Calls of one device are
 * made one after the other, and its socket is not read meanwhile. A callback that throws, rejects or takes longer than
 * the idle time ends that one socket with 1011 and is logged.
 */
import type { Term } from './etf/term.ts';
import type { DeviceErrorType } from './refusal.ts';

export interface DeviceHandler {
  /**
   * Whether a device may log in. Asked only when it brings no token. The credentials are the map of its header, those
   * with text keys, `fedecks-device-id` among them.
   */
  authenticate(credentials: ReadonlyMap<string, Term>): boolean | Promise<boolean>;
  /** At each connection, whether by credentials or token. Nothing is sent before the device has sent something. */
  onConnected?(device: Device): void | Promise<void>;
  /** A term from the device. */
  onMessage?(device: Device, message: Term): DeviceAnswer | Promise<DeviceAnswer>;
  /** A binary frame that is no term, or none that is safe, as it came. */
  onRawMessage?(device: Device, bytes: Uint8Array): DeviceAnswer | Promise<DeviceAnswer>;
  /** What `device.inform` was given. */
  onInfo?(device: Device, info: unknown): DevicePush | Promise<DevicePush>;
  /** A connection was refused. `deviceId` is `null` where the header does not say. What it throws is logged. */
  onError?(deviceId: string | null, type: DeviceErrorType, info: string): void | Promise<void>;
}

/** A connected device. Two may have one id at the same time. */
export interface Device {
  readonly deviceId: string;
  /** Aborted when the connection is gone. */
  readonly signal: AbortSignal;
  /**
   * Hands something to `onInfo`, in order, once the device has sent its first frame. `false` when the connection is
   * gone or 1,000 wait already: then it was not taken.
   */
  inform(info: unknown): boolean;
}

/** `reply` is sent as a term, also to a raw frame; `stop` closes with 1000 and goes to the log. */
export type DeviceAnswer = 'ok' | { readonly reply: Term } | { readonly stop: string };

export type DevicePush = 'ok' | { readonly push: Term } | { readonly stop: string };

/** A handler at a path of its own. */
export interface DeviceMount {
  /** The whole path of the upgrade, e.g. `/boxes/websocket`. */
  readonly path: string;
  readonly handler: DeviceHandler;
  /** At least 16 characters. Encrypts the tokens together with `salt`; the same on every node. */
  readonly secret: string;
  /** Not empty, and another one for each handler: a token of one is none of another. */
  readonly salt: string;
  /** How often a new token is sent. Default 10,800,000: 3 hours. */
  readonly tokenRefreshMillis?: number;
  /** Life of a token. Default 2,419,200: 4 weeks. */
  readonly tokenExpirySecs?: number;
  /** A device from which nothing comes for so long is closed; also the longest a callback may take. Default 60,000. */
  readonly idleTimeoutMillis?: number;
  /** Largest frame from a device; a larger one closes with 1009. Default 1 MiB. */
  readonly maxMessageBytes?: number;
}
