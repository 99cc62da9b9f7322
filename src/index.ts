/** The server as a library: start it inside another process. */
export { readConfig, type Config, type Environment } from './config.ts';
export { createLogger, type Logger } from './logger.ts';
export { startServer, type RunningServer, type ServerOptions } from './server.ts';
