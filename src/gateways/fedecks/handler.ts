/**
 * The interface that an application implements to serve Fedecks devices. The package exports it. The server
 * makes one call at a time for each device, and pauses the socket meanwhile. If a callback throws, rejects,
 * or exceeds the idle time, the server logs the error and closes this socket with 1011.
 */
import type { Term } from './etf/term.ts';
import type { DeviceErrorType } from './refusal.ts';

/** Handles the devices of an application. */
export interface DeviceHandler {
  /**
   * Returns true if the device may log in. The server calls it for a device without a token. `credentials`
   * contains the entries of the header with text keys, including `fedecks-device-id`.
   */
  authenticate(credentials: ReadonlyMap<string, Term>): boolean | Promise<boolean>;
  /**
   * Called for each connection, with credentials or a token. The server sends nothing before the first frame
   * of the device.
   */
  onConnected?(device: Device): void | Promise<void>;
  /** Called with a term from the device. */
  onMessage?(device: Device, message: Term): DeviceAnswer | Promise<DeviceAnswer>;
  /** Called with the bytes of a binary frame that contains no term, or an unsafe one. */
  onRawMessage?(device: Device, bytes: Uint8Array): DeviceAnswer | Promise<DeviceAnswer>;
  /** Called with a value that was passed to `device.inform`. */
  onInfo?(device: Device, info: unknown): DevicePush | Promise<DevicePush>;
  /**
   * Called after a refused connection. `deviceId` is `null` if the header contains none. The server logs an
   * error that it throws.
   */
  onError?(deviceId: string | null, type: DeviceErrorType, info: string): void | Promise<void>;
}

/** A connected device. Two connections can have the same device id at the same time. */
export interface Device {
  readonly deviceId: string;
  /** Aborts when the connection has closed. */
  readonly signal: AbortSignal;
  /**
   * Passes a value to `onInfo`, in order, after the first frame of the device. Returns false, and discards
   * the value, if the connection is closed or 1,000 values wait.
   */
  inform(info: unknown): boolean;
}

/** `reply` sends a term, also in answer to a raw frame. `stop` closes with 1000 and logs the reason. */
export type DeviceAnswer = 'ok' | { readonly reply: Term } | { readonly stop: string };

/** `push` sends a term. `stop` closes with 1000 and logs the reason. */
export type DevicePush = 'ok' | { readonly push: Term } | { readonly stop: string };

/** Mounts a handler at its own path. */
export interface DeviceMount {
  /** The full path of the upgrade request, for example `/boxes/websocket`. */
  readonly path: string;
  readonly handler: DeviceHandler;
  /** At least 16 characters. With `salt` it encrypts the tokens. Every node needs the same value. */
  readonly secret: string;
  /** Not empty, and different for each handler, so that a token of one handler is not valid for another. */
  readonly salt: string;
  /** Interval of new tokens in milliseconds. Default 10,800,000: 3 hours. */
  readonly tokenRefreshMillis?: number;
  /** Lifetime of a token in seconds. Default 2,419,200: 4 weeks. */
  readonly tokenExpirySecs?: number;
  /**
   * The server closes a device that sends nothing for this time in milliseconds. It also limits the duration
   * of a callback. Default 60,000.
   */
  readonly idleTimeoutMillis?: number;
  /**
   * Maximum bytes of a frame from a device. A larger frame closes the connection with 1009. Default 1 MiB.
   */
  readonly maxMessageBytes?: number;
}
