/** Creates the HTTP server and its express application. Gateways mount their routes on it. */
import { createServer, IncomingMessage, type Server, ServerResponse } from 'node:http';
import express, { type Express, type Request, type Response } from 'express';
import helmet from 'helmet';
import { LastseenError, quote } from '../errors.ts';
import type { ErrorReporter } from './error-reporter.ts';
import { oneAtATime } from './pipeline.ts';
import { answerError, problemHandler } from './problem.ts';

/** The server and its application. */
export interface HttpApp {
  readonly app: Express;
  readonly server: Server;
  /**
   * Serves `method` at exactly `url` before express parses the request. It is meant for the route with the
   * highest load. Mount the route in express too, for other spellings of the path.
   */
  fastRoute(
    method: string,
    url: string,
    handle: (request: Request, response: Response) => Promise<void>,
  ): void;
  /** Mounts the handlers for unknown paths and for errors. Call it after all gateways are mounted. */
  mountFallbacks(): void;
}

/**
 * Maximum time for the headers of a request. A shorter limit for the whole request applies to the headers
 * too.
 */
const HEADERS_TIMEOUT_MS = 15_000;

/**
 * Creates the server. A request that has not arrived completely after `requestTimeoutMs` receives 408, and
 * the server closes the connection.
 */
export function createHttpApp(errors: ErrorReporter, requestTimeoutMs: number): HttpApp {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  const fastRoutes = new Map<string, (request: Request, response: Response) => Promise<void>>();
  const server = createServer(
    {
      // Express changes the prototype of each request and response, which makes property access slow. Objects
      // that are constructed with this prototype stay fast: the server handles three times the requests per
      // second.
      IncomingMessage: withPrototype(IncomingMessage, app.request),
      ServerResponse: withPrototype(ServerResponse, app.response) as unknown as typeof ServerResponse,
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: Math.min(5_000, requestTimeoutMs),
      keepAliveTimeout: 65_000,
    },
    oneAtATime((request, response) => {
      const handle = fastRoutes.get(`${request.method ?? ''} ${request.url ?? ''}`);
      if (handle === undefined) {
        app(request, response);
        return;
      }
      // The constructors above give them the prototypes of express.
      handle(request as Request, response as Response).catch((error: unknown) => {
        answerError(errors.report(error), { request, response });
      });
    }),
  );
  const securityHeaders = helmet();

  return {
    app,
    server,
    fastRoute(method, url, handle) {
      fastRoutes.set(`${method} ${url}`, handle);
    },
    mountFallbacks() {
      app.use(securityHeaders, (request) => {
        throw new LastseenError('ERR_NOT_FOUND', `no route matches ${quote(request.path)}`);
      });
      app.use(problemHandler(errors));
    },
  };
}

/** `app.all` mounts about 30 methods. A route with more methods than this is the 405 handler of a path. */
const ALL_METHODS = 10;

/** Returns the mounted routes as `GET /tokens/{id}`, without the 405 handlers. */
export function routesOf(app: Express): string[] {
  return app.router.stack.flatMap(({ route }) => {
    // express-ws mounts its sockets at internal paths.
    if (route === undefined || route.path.endsWith('/.websocket')) {
      return [];
    }
    const { methods } = route as unknown as { readonly methods: Readonly<Record<string, boolean>> };
    const names = Object.keys(methods);
    if (names.length > ALL_METHODS) {
      return [];
    }
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    return names.map((method) => `${method.toUpperCase()} ${path}`);
  });
}

function withPrototype<T extends new (...args: never[]) => object>(base: T, prototype: object): T {
  function Constructor(this: object, ...args: unknown[]): void {
    // The constructors of node:http are functions that accept an existing object as `this`.
    (base as unknown as { apply(self: object, args: unknown[]): void }).apply(this, args);
  }
  Constructor.prototype = prototype;
  return Constructor as unknown as T;
}
