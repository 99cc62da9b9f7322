/** The HTTP server and its express application. Gateways mount on it; nobody else runs express. */
import { createServer, IncomingMessage, type Server, ServerResponse } from 'node:http';
import express, { type Express, type Request, type Response } from 'express';
import helmet from 'helmet';
import { LastseenError, quote } from '../errors.ts';
import type { ErrorReporter } from './error-reporter.ts';
import { answerError, problemHandler } from './problem.ts';

export interface HttpApp {
  readonly app: Express;
  readonly server: Server;
  /**
   * Serves `method` at exactly `url` before express looks at the request: for the one route that carries the load.
   * Mount it in express too, for the same path in another spelling.
   */
  fastRoute(
    method: string,
    url: string,
    handle: (request: Request, response: Response) => Promise<void>,
  ): void;
  /** Call when all gateways are mounted: any other path is not found, and errors become problems. */
  mountFallbacks(): void;
}

/** Time to send the headers at most; a shorter time for the whole request holds for them too. */
const HEADERS_TIMEOUT_MS = 15_000;

/** `requestTimeoutMs`: what has not come whole by then is answered 408 and closed. */
export function createHttpApp(errors: ErrorReporter, requestTimeoutMs: number): HttpApp {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  const fastRoutes = new Map<string, (request: Request, response: Response) => Promise<void>>();
  const server = createServer(
    {
      // Express gives every request and response its own prototype, which makes them slow objects. Made with that
      // prototype from the start, they stay fast: three times the requests a second.
      IncomingMessage: withPrototype(IncomingMessage, app.request),
      ServerResponse: withPrototype(ServerResponse, app.response) as unknown as typeof ServerResponse,
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: Math.min(5_000, requestTimeoutMs),
      keepAliveTimeout: 65_000,
    },
    (request, response) => {
      const handle = fastRoutes.get(`${request.method ?? ''} ${request.url ?? ''}`);
      if (handle === undefined) {
        app(request, response);
        return;
      }
      // Made by the constructors above, they are what express would have made of them.
      handle(request as Request, response as Response).catch((error: unknown) => {
        answerError(errors.report(error), { request, response });
      });
    },
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
        throw new LastseenError('ERR_NOT_FOUND', `nothing is served at ${quote(request.path)}`);
      });
      app.use(problemHandler(errors));
    },
  };
}

/** `app.all` mounts each of Node's methods, some thirty; nothing that is served takes as many as this. */
const ALL_METHODS = 10;

/** Every method and path that is mounted, as `GET /tokens/{id}`; what only refuses other methods is none. */
export function routesOf(app: Express): string[] {
  return app.router.stack.flatMap(({ route }) => {
    // express-ws keeps its sockets at paths of its own making.
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
    // The constructors of node:http are functions of the old kind and may be called on an object.
    (base as unknown as { apply(self: object, args: unknown[]): void }).apply(this, args);
  }
  Constructor.prototype = prototype;
  return Constructor as unknown as T;
}
