/**
 * Mounts the routes of a description. A gateway passes exactly one handler for each described route, so that
 * each served route has a description. Each path answers other methods with 405 and `Allow`.
 */
import type { Request, Response } from 'express';
import { LastseenError } from '../errors.ts';
import type { HttpApp } from './app.ts';
import type { Description } from './description.ts';

/** Handles a request. */
export type Handler = (request: Request, response: Response) => void | Promise<void>;

/** A route that is served before express parses the request. */
export interface FastRoute {
  readonly fast: (request: Request, response: Response) => Promise<void>;
}

/** One handler for each route of a description. */
export type HandlersOf<D extends Description> = Readonly<Record<keyof D['routes'], Handler | FastRoute>>;

/** Options of a description. */
export interface ServeOptions {
  /** Wraps each handler and the 405 handlers, for a protocol with its own errors. */
  readonly wrap?: (handler: Handler) => Handler;
}

/** Mounts routes. */
export interface Routes {
  /** Mounts the routes of a description. */
  serve<D extends Description>(description: D, handlers: HandlersOf<D>, options?: ServeOptions): void;
  /** Handles the requests below `path` that match no route. */
  fallback(path: string, handler: Handler): void;
}

type Method = 'get' | 'post' | 'patch' | 'put' | 'delete';

/** Creates the routes of an application. */
export function createRoutes({ app, fastRoute }: Pick<HttpApp, 'app' | 'fastRoute'>): Routes {
  return {
    serve(_description, handlers, { wrap = (handler: Handler): Handler => handler } = {}) {
      const methodsByPath = new Map<string, string[]>();
      for (const [route, handler] of Object.entries<Handler | FastRoute>(handlers)) {
        const [method = '', path = ''] = route.split(' ', 2);
        const isFast = 'fast' in handler;
        if (isFast) {
          fastRoute(method, path, handler.fast);
        }
        app[method.toLowerCase() as Method](expressPath(path), wrap(isFast ? handler.fast : handler));
        methodsByPath.set(path, [...(methodsByPath.get(path) ?? []), method]);
      }
      // A path without parameters precedes the others: `/tokens/ticket` also matches `/tokens/{jti}`.
      const paths = [...methodsByPath].sort(([a], [b]) => Number(a.includes('{')) - Number(b.includes('{')));
      for (const [path, methods] of paths) {
        const allowed = methods.sort().join(', ');
        app.all(
          expressPath(path),
          wrap((_request, response) => {
            response.setHeader('Allow', allowed);
            throw new LastseenError('ERR_METHOD', `the method must be ${methods.join(' or ')}`);
          }),
        );
      }
    },
    fallback(path, handler) {
      app.all(`${path}/{*rest}`, handler);
    },
  };
}

/** Converts `/tokens/{jti}` to the notation of express. */
function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

/** Returns a path parameter. */
export function pathParameter(request: Request, name: string): string {
  return String(request.params[name]);
}

/**
 * Selects the media type of the response from `types`.
 * @throws ERR_NOT_ACCEPTABLE if the client accepts none of them
 */
export function negotiate<const T extends string>(request: Request, types: readonly T[]): T {
  const { accept } = request.headers;
  if (accept !== undefined) {
    request.headers.accept = withoutParameters(accept);
  }
  const chosen = request.accepts([...types]);
  const type = types.find((known) => known === chosen);
  if (type === undefined) {
    throw new LastseenError('ERR_NOT_ACCEPTABLE', `supported media types: ${types.join(', ')}`);
  }
  return type;
}

/**
 * Removes the parameters of media types, such as a charset, and keeps the weights: the served types have no
 * parameters.
 */
function withoutParameters(accept: string): string {
  return accept
    .split(',')
    .map((range) => {
      const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
      return [type, ...parameters.filter((parameter) => /^q\s*=/i.test(parameter))].join(';');
    })
    .join(',');
}
