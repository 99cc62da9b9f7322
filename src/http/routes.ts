/**
 * Routes as their descriptions name them. A gateway hands over one handler for each route that it describes, no more and
 * no fewer, so that nothing is served without a description, and each path answers other methods with 405 and `Allow`.
 */
import type { Request, Response } from 'express';
import { LastseenError } from '../errors.ts';
import type { HttpApp } from './app.ts';
import type { Description } from './description.ts';

export type Handler = (request: Request, response: Response) => void | Promise<void>;

/** A route that carries the load: served before express looks at the request. */
export interface FastRoute {
  readonly fast: (request: Request, response: Response) => Promise<void>;
}

/** A handler for each route of the description. */
export type HandlersOf<D extends Description> = Readonly<Record<keyof D['routes'], Handler | FastRoute>>;

export interface ServeOptions {
  /** Put around each handler, and around the refusal of other methods: for a protocol with errors of its own. */
  readonly wrap?: (handler: Handler) => Handler;
}

export interface Routes {
  serve<D extends Description>(description: D, handlers: HandlersOf<D>, options?: ServeOptions): void;
  /** Answers whatever is below `path` and is no route. */
  fallback(path: string, handler: Handler): void;
}

type Method = 'get' | 'post' | 'patch' | 'put' | 'delete';

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
      // A path without parameters first: `/tokens/ticket` is also a `/tokens/{jti}`.
      const paths = [...methodsByPath].sort(([a], [b]) => Number(a.includes('{')) - Number(b.includes('{')));
      for (const [path, methods] of paths) {
        const allowed = methods.sort().join(', ');
        app.all(
          expressPath(path),
          wrap((_request, response) => {
            response.setHeader('Allow', allowed);
            throw new LastseenError('ERR_METHOD', `only ${allowed} is served here`);
          }),
        );
      }
    },
    fallback(path, handler) {
      app.all(`${path}/{*rest}`, handler);
    },
  };
}

/** `/tokens/{jti}` as express writes it. */
function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

/** A parameter of the path. */
export function pathParameter(request: Request, name: string): string {
  return String(request.params[name]);
}

/**
 * The media type of the answer, out of those that the route has.
 * @throws ERR_NOT_ACCEPTABLE when the client accepts none of them
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

/** No type that is served here has parameters: those of the client, such as a charset, are ignored; its weights stay. */
function withoutParameters(accept: string): string {
  return accept
    .split(',')
    .map((range) => {
      const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
      return [type, ...parameters.filter((parameter) => /^q\s*=/i.test(parameter))].join(';');
    })
    .join(',');
}
