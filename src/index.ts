/** The server as a library: start it inside another process. */
export { type Config, type Environment, readConfig } from './config.ts';
export { createLogger, type Logger } from './logger.ts';
export { type RunningServer, type ServerOptions, startServer } from './server.ts';

/** Handlers for Fedecks devices, and the terms that devices speak in. */
export {
  charlist,
  type Float,
  float,
  isCharlist,
  type Term,
  type Tuple,
  tuple,
} from './gateways/fedecks/etf/term.ts';
export type {
  Device,
  DeviceAnswer,
  DeviceHandler,
  DeviceMount,
  DevicePush,
} from './gateways/fedecks/handler.ts';
export type { DeviceErrorType } from './gateways/fedecks/refusal.ts';
