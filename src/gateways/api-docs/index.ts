/**
 * GET /openapi.json and GET /asyncapi.json: what this server serves, out of what each room says of itself. Neither asks
 * for a token: they hold nothing of anybody.
 */
import type { Express } from 'express';
import { z } from 'zod';
import { LastseenError } from '../../errors.ts';
import type { Description } from '../../http/description.ts';
import { asyncApiOf } from './asyncapi.ts';
import { openApiOf } from './openapi.ts';

const CONTENT = { 'application/json': z.object({}) };

const OWN: Description = {
  name: 'description',
  text: 'These documents.',
  routes: {
    'GET /openapi.json': {
      summary: 'This document: every route, OpenAPI 3.1',
      access: 'open',
      answers: { 200: { text: 'the document', content: CONTENT } },
    },
    'GET /asyncapi.json': {
      summary: 'The wires that stay open, AsyncAPI 3.0',
      access: 'open',
      answers: { 200: { text: 'the document', content: CONTENT } },
    },
  },
};

export function mountDescription(options: {
  readonly app: Express;
  /** Of every room that is mounted. */
  readonly descriptions: readonly Description[];
  readonly version: string;
}): void {
  const { app, version } = options;
  const descriptions = [...options.descriptions, OWN];
  serve('/openapi.json', () => openApiOf(descriptions, version));
  serve('/asyncapi.json', () => asyncApiOf(descriptions, version));

  /** Made when it is first asked for, and then kept. */
  function serve(path: string, make: () => object): void {
    let text: string | undefined;
    app.get(path, (_request, response) => {
      text ??= JSON.stringify(make());
      response.set('Cache-Control', 'public, max-age=60').type('json').end(text);
    });
    app.all(path, (_request, response) => {
      response.setHeader('Allow', 'GET');
      throw new LastseenError('ERR_METHOD', 'only GET is served here');
    });
  }
}
