/** The server as a library: start it inside another process. */
export { readConfig, type Config, type Environment } from './config.ts';
export { createLogger, type Logger } from './logger.ts';
export { startServer, type RunningServer, type ServerOptions } from './server.ts';

/** Handlers for Fedecks devices, and the terms that devices speak in. */
export type {
  Device,
  DeviceAnswer,
  DeviceHandler,
  DeviceMount,
  DevicePush,
} from './gateways/fedecks/handler.ts';
export type { DeviceErrorType } from './gateways/fedecks/refusal.ts';
export {
  charlist,
  float,
  isCharlist,
  tuple,
  type Float,
  type Term,
  type Tuple,
} from './gateways/fedecks/etf/term.ts';
