/** /openapi.json and /asyncapi.json: valid by their official parsers, complete, and true of what the codecs take. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import SwaggerParser from '@apidevtools/swagger-parser';
import { Parser } from '@asyncapi/parser';
import fc from 'fast-check';
import { z } from 'zod';
import { readConfig } from '../../../src/config.ts';
import {
  Announcement,
  NewToken,
  PushedEvent,
  Subscribe,
  Unsubscribe,
} from '../../../src/gateways/notifier/description.ts';
import { decodePush } from '../../../src/gateways/notifier/push-codec.ts';
import { decodeFirst, decodeNext } from '../../../src/gateways/notifier/socket-codec.ts';
import { createLogger } from '../../../src/logger.ts';
import { type RunningServer, startServer } from '../../../src/server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.ts';

/** Of the parser's diagnostics: 0 is an error, 1 a warning. */
const WARNING = 1;

interface Operation {
  readonly responses: Readonly<Record<string, { content?: Record<string, { schema: object }> }>>;
  readonly security: readonly unknown[];
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

interface AsyncApi {
  readonly channels: Readonly<
    Record<string, { address: string; messages: Readonly<Record<string, { payload: object }>> }>
  >;
}

describe('what the server says of itself', () => {
  let directory: TemporaryDirectory;
  let server: RunningServer;
  let openapi: OpenApi;
  let asyncapi: AsyncApi;
  before(async () => {
    directory = temporaryDirectory();
    server = await startServer({
      config: readConfig({
        PORT: '0',
        DATABASE_URL: `sqlite:${join(directory.path, 'log.db')}`,
        LASTSEEN_ADMIN_TOKEN: 'test-admin',
      }),
      logger: createLogger('silent', false),
    });
    // Neither asks for a token.
    openapi = (await (await fetch(`${server.url}/openapi.json`)).json()) as OpenApi;
    asyncapi = (await (await fetch(`${server.url}/asyncapi.json`)).json()) as AsyncApi;
  });
  after(async () => {
    await server.stop();
    directory.remove();
  });

  it('/openapi.json is valid OpenAPI', async () => {
    await SwaggerParser.validate(structuredClone(openapi) as unknown as string);
  });

  it('/asyncapi.json is valid AsyncAPI', async () => {
    const { document, diagnostics } = await new Parser().parse(JSON.stringify(asyncapi));
    const faults = diagnostics.filter(({ severity }) => (severity as number) <= WARNING);
    assert.deepEqual(
      faults.map(({ message, path }) => `${path.join('.')}: ${message}`),
      [],
    );
    assert.ok((document?.channels().length ?? 0) > 0);
  });

  it('every route that is served is described, and every one that is described is served', () => {
    const described = Object.entries(openapi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    // One that is missing here wants a line in its gateway's description.ts, and that one in server.ts.
    assert.deepEqual([...described].sort(), [...server.routes].sort());
    assert.ok(described.length > 15);
  });

  it('what asks for a token is said to, and the rest answers without one', async () => {
    for (const [path, methods] of Object.entries(openapi.paths)) {
      for (const [method, { security, responses }] of Object.entries(methods)) {
        // Sockets say so when they are opened: their own tests ask.
        if ('101' in responses) {
          continue;
        }
        const isGuarded = JSON.stringify(security).includes('bearer');
        const response = await fetch(server.url + path.replaceAll(/\{\w+\}/g, 'x'), {
          method: method.toUpperCase(),
        });
        await response.text();
        assert.equal(response.status === 401, isGuarded, `${method} ${path}: ${response.status}`);
      }
    }
  });

  it('answers are as they are described', async () => {
    const authorization = { Authorization: 'Bearer test-admin' };
    const json = { ...authorization, 'Content-Type': 'application/json' };
    const ask = (path: string, method = 'GET', body?: string, headers = {}): Promise<Response> =>
      fetch(server.url + path, {
        method,
        headers: { ...json, ...headers },
        ...(body === undefined ? {} : { body }),
      });
    const pushed = '[{"accessid":"told","created_at":1,"payload":{"a":1},"id":"x"}]';
    const user = '{"data":{"type":"user","attributes":{"nickname":"Ada"}}}';
    const apiJson = { 'Content-Type': 'application/vnd.api+json' };
    const asked: [path: string, described: string, method: string, body?: string, headers?: object][] = [
      ['/push_events', '/push_events', 'POST', pushed],
      ['/push_events', '/push_events', 'POST', pushed, { Prefer: 'return=representation' }],
      ['/push_events', '/push_events', 'POST', '[{"accessid":"$told"}]'],
      ['/events?access_id=told', '/events', 'GET'],
      ['/events?access_id=told&after=no', '/events', 'GET'],
      ['/clients', '/clients', 'GET'],
      ['/tokens', '/tokens', 'POST', '{"scope":"subscribe","access_ids":["told"]}'],
      ['/tokens', '/tokens', 'GET'],
      ['/tokens/ticket', '/tokens/ticket', 'POST'],
      ['/oauth/clients', '/oauth/clients', 'POST', '{"name":"n","scope":"push","access_ids":["told"]}'],
      ['/oauth/clients', '/oauth/clients', 'GET'],
      ['/api/json/accounts/users', '/api/json/accounts/users', 'POST', user, apiJson],
      ['/api/json/accounts/users', '/api/json/accounts/users', 'GET'],
      ['/api/json/accounts/users/x', '/api/json/accounts/users/{id}', 'GET'],
      ['/health', '/health', 'GET'],
      ['/ready', '/ready', 'GET'],
    ];
    for (const [path, described, method, body, headers] of asked) {
      const response = await ask(path, method, body, headers);
      const name = `${method} ${path}: ${response.status}`;
      const answer = openapi.paths[described]?.[method.toLowerCase()]?.responses[String(response.status)];
      const type = (response.headers.get('content-type') ?? '').split(';')[0] ?? '';
      const schema = answer?.content?.[type]?.schema;
      assert.ok(schema, `${name} ${type} is not described`);
      const parsed = z.fromJSONSchema(inlined(schema, openapi) as never).safeParse(await response.json());
      assert.ok(parsed.success, `${name}: ${parsed.error?.message ?? ''}`);
    }
  });

  it('the schema of a pushed event takes what the codec takes, and nothing else', () => {
    const limits = { maxBatchEvents: 10, maxPayloadBytes: 1_000 };
    const name = fc.oneof(
      fc.constantFrom('a', '$a', '', 'a\u0000', '\ud800', 'a'.repeat(256), 'a'.repeat(257), '😀'.repeat(256)),
      fc.constantFrom(null, 1, true),
    );
    const event = fc.record(
      {
        accessid: name,
        access_id: name,
        created_at: fc.constantFrom(1, -1, 1.5, 2 ** 53, -(2 ** 53), 2 ** 53 - 1, '1', null),
        payload: fc.constantFrom(null, 1, 'text', { a: [] }, false),
        id: name,
        more: fc.constant(1),
      },
      { requiredKeys: [] },
    );
    let taken = 0;
    fc.assert(
      fc.property(event, (value) => {
        const isTaken = gives(() => decodePush('application/json', JSON.stringify([value]), limits));
        taken += isTaken ? 1 : 0;
        const parsed = PushedEvent.safeParse(JSON.parse(JSON.stringify(value)));
        assert.equal(parsed.success, isTaken, JSON.stringify(value));
      }),
      {
        numRuns: 2_000,
        examples: [
          [{ accessid: 'a', created_at: 1, payload: null }],
          [{ access_id: 'a', created_at: 1, payload: 1, id: 'b' }],
        ],
      },
    );
    assert.ok(taken > 1);
  });

  it('the schemas of messages take what the codec takes, and nothing else', () => {
    const name = fc.constantFrom('a', '$users', '', 1, null, 'a'.repeat(257));
    const message = fc.record(
      {
        type: fc.constantFrom('subscribe', 'unsubscribe', 'token', 'other', 1),
        access_id: name,
        after: fc.constantFrom('start', null, 1),
        timestamp: fc.constantFrom(1, 1.5, '1', 2 ** 53),
        token: fc.constantFrom('t', 1),
      },
      { requiredKeys: [] },
    );
    let taken = 0;
    fc.assert(
      fc.property(message, (value) => {
        const text = JSON.stringify(value);
        const isFirst = gives(() => decodeFirst(text));
        const isNext = gives(() => decodeNext(text));
        taken += isFirst || isNext ? 1 : 0;
        // A first message that names neither is the original's; a token that is no string is as good as none there.
        const { token, ...rest } = value;
        const first = typeof token === 'string' || token === undefined ? value : rest;
        const isExact = 'after' in value || 'type' in value;
        assert.equal((isExact ? Subscribe : Announcement).safeParse(first).success, isFirst, `first ${text}`);
        const later = z.union([Subscribe, Unsubscribe, NewToken]);
        const kind = value.type === 'subscribe' ? { ...rest } : value;
        assert.equal('type' in value && later.safeParse(kind).success, isNext, `next ${text}`);
      }),
      {
        numRuns: 2_000,
        examples: [[{ access_id: 'a', timestamp: 1 }], [{ access_id: 'a', after: 'start' }]],
      },
    );
    assert.ok(taken > 2);
  });
});

/** True when it gives something, false when it throws or gives nothing. */
function gives(work: () => unknown): boolean {
  try {
    return work() !== undefined;
  } catch {
    return false;
  }
}

/** References to the common schemas, replaced by them: none of them is recursive. */
function inlined(value: unknown, { components }: OpenApi): unknown {
  const look = (inner: unknown): unknown => {
    if (Array.isArray(inner)) {
      return inner.map(look);
    }
    if (typeof inner !== 'object' || inner === null) {
      return inner;
    }
    const reference = (inner as { $ref?: string }).$ref;
    if (reference !== undefined) {
      return look(components.schemas[reference.slice('#/components/schemas/'.length)]);
    }
    return Object.fromEntries(Object.entries(inner).map(([key, part]) => [key, look(part)]));
  };
  return look(value);
}
