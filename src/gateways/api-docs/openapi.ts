/** Converts descriptions to an OpenAPI 3.1 document. */
import { z } from 'zod';
import type { ErrorCode } from '../../errors.ts';
import { ERROR_CODES, meaningOf } from '../../errors.ts';
import type { Answer, Content, Description, RouteDescription } from '../../http/description.ts';
import { createSchemaCollector, type Json, type SchemaCollector } from './json-schema.ts';

const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(ERROR_CODES),
    errors: z
      .array(z.object({ pointer: z.string(), detail: z.string() }))
      .optional()
      .meta({ description: 'the invalid fields of the input, by JSON Pointer' }),
    floor: z
      .string()
      .optional()
      .meta({ description: 'the lowest valid cursor, in the error of a refused cursor' }),
    common: z
      .string()
      .optional()
      .meta({ description: 'the last cursor that the history of the refused cursor and the log share' }),
    common_by: z
      .enum(['term', 'trail'])
      .optional()
      .meta({ description: 'whether the log knows `common` by its terms or by the trail of the client' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457' });

const PROBLEM: Content = { 'application/problem+json': Problem };

/** Builds the document. */
export function openApiOf(descriptions: readonly Description[], version: string): Json {
  const schemas = createSchemaCollector('draft-2020-12');
  const paths: Record<string, Record<string, Json>> = {};
  const addOperation = (tag: string, name: string, route: RouteDescription): void => {
    const [method = '', path = ''] = name.split(' ', 2);
    (paths[path] ??= {})[method.toLowerCase()] = { tags: [tag], ...operationOf(name, route, schemas) };
  };
  for (const { name, routes, channels = {} } of descriptions) {
    for (const [route, description] of Object.entries(routes)) {
      addOperation(name, route, description);
    }
    for (const channel of Object.values(channels)) {
      if (channel.kind === 'websocket') {
        addOperation(name, `GET ${channel.address}`, upgradeOf(channel.summary));
      }
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Lastseen',
      version,
      description: 'A durable, ordered event log that clients resume from any cursor.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: descriptions.map(({ name, text }) => ({ name, description: text })),
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'the admin token, or a JWT' },
        client: { type: 'http', scheme: 'basic', description: 'client_id and client_secret' },
      },
      schemas: schemas.collected,
    },
  };
}

function upgradeOf(summary: string): RouteDescription {
  return {
    summary: `${summary} (a WebSocket: see /asyncapi.json)`,
    access: 'any',
    answers: { 101: { text: 'the WebSocket is open' }, 426: { text: 'the request is not an upgrade' } },
    errors: ['ERR_ORIGIN', 'ERR_TOO_MANY_CONNECTIONS', 'ERR_DRAINING'],
  };
}

function operationOf(name: string, route: RouteDescription, schemas: SchemaCollector): Json {
  const parameters = parametersOf(route, schemas);
  return {
    operationId: operationIdOf(name),
    summary: route.summary,
    security: securityOf(route.access),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined
      ? {}
      : { requestBody: { required: true, content: contentOf(route.body, schemas) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(route.answers).map(([status, answer]) => [status, answerOf(answer, schemas)]),
      ),
      ...errorsOf(route, schemas),
    },
  };
}

/** Converts `DELETE /tokens/{jti}` to `deleteTokensByJti`. */
function operationIdOf(name: string): string {
  const words = name.replaceAll(/\{(\w+)\}/g, 'by $1').split(/[^A-Za-z0-9]+/);
  return words
    .filter((word) => word !== '')
    .map((word, index) => (index === 0 ? word.toLowerCase() : word.charAt(0).toUpperCase() + word.slice(1)))
    .join('');
}

function securityOf(access: RouteDescription['access']): Json[] {
  if (access === 'open') {
    return [];
  }
  if (access === 'client') {
    return [{ client: [] }, {}];
  }
  return [{ bearer: access === 'any' ? [] : [access] }];
}

function parametersOf(route: RouteDescription, schemas: SchemaCollector): Json[] {
  const text = { type: 'string' };
  const query = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    required: !(schema as z.ZodType).safeParse(undefined).success,
    schema: schemas.schemaOf(schema as z.ZodType),
  }));
  const path = Object.entries(route.path ?? {}).map(([name, description]) => ({
    ...{ name, in: 'path', required: true },
    ...{ description, schema: text },
  }));
  const headers = Object.entries(route.headers ?? {}).map(([name, description]) => ({
    ...{ name, in: 'header', required: false },
    ...{ description, schema: text },
  }));
  return [...path, ...query, ...headers];
}

function answerOf({ text, content }: Answer, schemas: SchemaCollector): Json {
  return { description: text, ...(content === undefined ? {} : { content: contentOf(content, schemas) }) };
}

function contentOf(content: Content, schemas: SchemaCollector): Json {
  return Object.fromEntries(
    Object.entries(content).map(([type, schema]) => [type, { schema: schemas.schemaOf(schema) }]),
  );
}

/** Returns one response for each status, with its error codes. */
function errorsOf(route: RouteDescription, schemas: SchemaCollector): Json {
  const commonErrors: ErrorCode[] = ['ERR_INTERNAL'];
  if (route.access !== 'open' && route.access !== 'client') {
    commonErrors.push('ERR_UNAUTHENTICATED');
  }
  if (route.access !== 'open' && route.access !== 'client' && route.access !== 'any') {
    commonErrors.push('ERR_FORBIDDEN');
  }
  if (route.body !== undefined) {
    commonErrors.push('ERR_QUEUE_FULL', 'ERR_TIMEOUT');
  }
  const codes = new Map<number, ErrorCode[]>();
  for (const code of new Set([...(route.errors ?? []), ...commonErrors])) {
    const status = meaningOf(code).status;
    codes.set(status, [...(codes.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...codes].map(([status, statusCodes]) => [
      status,
      { description: statusCodes.join(', '), content: contentOf(route.errorContent ?? PROBLEM, schemas) },
    ]),
  );
}
