/**
 * GET /console: the page for operators, its script, its style sheet and its icon. They are public and contain
 * no secret: the page calls the API with the token that the operator enters. The content security policy
 * restricts its connections to this server.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { LastseenError, quote } from '../../errors.ts';
import type { Description, RouteDescription } from '../../http/description.ts';
import { pathParameter } from '../../http/routes.ts';
import { defineGateway } from '../gateway.ts';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

const HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  // The browser revalidates each file, and receives 304 if it has not changed.
  'Cache-Control': 'no-cache',
  Vary: 'Accept-Encoding',
};

interface Asset {
  readonly type: string;
  readonly tag: string;
  readonly plain: Buffer;
  readonly zipped: Buffer;
}

/** The files do not change while the process runs, so that they are loaded once. */
let loading: Promise<ReadonlyMap<string, Asset>> | undefined;

function loadAssets(): Promise<ReadonlyMap<string, Asset>> {
  loading ??= readAssets().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const files = import.meta.url.endsWith('.ts') ? await fromSource() : await fromPackage();
  return new Map(
    [...files].map(([name, contents]) => {
      const plain = Buffer.from(contents);
      const tag = `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`;
      const type = TYPES[name.split('.').at(-1) ?? ''] ?? 'application/octet-stream';
      return [name, { type, tag, plain, zipped: gzipSync(plain) }];
    }),
  );
}

async function fromSource(): Promise<ReadonlyMap<string, Uint8Array>> {
  const { bundleConsole } = await import('./bundle.ts');
  return bundleConsole();
}

async function fromPackage(): Promise<ReadonlyMap<string, Uint8Array>> {
  const directory = new URL('../../../console/', import.meta.url);
  const names = await readdir(fileURLToPath(directory));
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(new URL(name, directory))] as const)),
  );
}

function fileRoute(
  summary: string,
  types: readonly string[],
): Omit<RouteDescription, 'summary'> & { summary: string } {
  return {
    summary,
    access: 'open',
    answers: {
      200: { text: 'the file', content: Object.fromEntries(types.map((type) => [type, z.string()])) },
      304: { text: 'the file has not changed' },
    },
  };
}

const description = {
  name: 'console',
  text: 'Serves a page for operators.',
  routes: {
    'GET /console': fileRoute('The page for operators', ['text/html']),
    'GET /console/{file}': {
      ...fileRoute('The script, style sheet and icon of the page', [
        'text/javascript',
        'text/css',
        'image/svg+xml',
      ]),
      path: { file: 'app.js, app.css or icon.svg' },
      errors: ['ERR_NOT_FOUND'],
    },
  },
} as const satisfies Description;

/** The gateway of the console. */
export const consoleGateway = defineGateway({
  name: 'console',
  description,
  needs: { ports: ['routes'], settings: {} },
  mount({ routes }) {
    routes.serve(description, {
      'GET /console': (request, response) => sendFile('index.html', request, response),
      'GET /console/{file}': (request, response) =>
        sendFile(pathParameter(request, 'file'), request, response),
    });
    return undefined;
  },
});

async function sendFile(name: string, request: Request, response: Response): Promise<void> {
  const asset = (await loadAssets()).get(name);
  if (asset === undefined) {
    throw new LastseenError('ERR_NOT_FOUND', `the console has no file ${quote(name)}`);
  }
  sendAsset(asset, request, response);
}

function sendAsset({ type, tag, plain, zipped }: Asset, request: Request, response: Response): void {
  response.set(HEADERS).set('ETag', tag);
  if (request.headers['if-none-match'] === tag) {
    response.status(304).end();
    return;
  }
  const isZipped = request.acceptsEncodings(['gzip', 'identity']) === 'gzip';
  if (isZipped) {
    response.setHeader('Content-Encoding', 'gzip');
  }
  response.setHeader('Content-Type', type);
  response.end(isZipped ? zipped : plain);
}
