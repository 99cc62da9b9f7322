/**
 * GET /openapi.json and GET /asyncapi.json: what this server serves, from the description of each gateway. Neither asks
 * for a token: they hold nothing of anybody.
 */
import type { Response } from 'express';
import { z } from 'zod';
import type { Description } from '../../http/description.ts';
import type { Handler } from '../../http/routes.ts';
import { defineGateway } from '../gateway.ts';
import { asyncApiOf } from './asyncapi.ts';
import { openApiOf } from './openapi.ts';

const CONTENT = { 'application/json': z.object({}) };

const description = {
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
} as const satisfies Description;

export const apiDocs = defineGateway({
  name: 'api-docs',
  description,
  needs: { ports: ['routes', 'descriptions', 'version'], settings: {} },
  mount({ routes, descriptions, version }) {
    routes.serve(description, {
      'GET /openapi.json': cached(() => openApiOf(descriptions, version)),
      'GET /asyncapi.json': cached(() => asyncApiOf(descriptions, version)),
    });
    return undefined;
  },
});

/** Made when it is first asked for, and then kept. */
function cached(build: () => object): Handler {
  let text: string | undefined;
  return (_request, response: Response) => {
    text ??= JSON.stringify(build());
    response.set('Cache-Control', 'public, max-age=60').type('json').end(text);
  };
}
